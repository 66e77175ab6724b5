"""The signature of any callable, with its annotations resolved, as `taut.mcp.function` needs it.

Sees through bound methods, `functools.partial`, `functools.wraps` and callable objects. String annotations
are looked up where the function was written: its module, its closure, and, while they still run, the
functions that it is nested in. Nothing here knows of JSON. Every failure is a `ConfigError` that names the
function and the parameter.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from taut.errors import ConfigError
from taut.mcp.docstring import Docstring, parse_docstring

__all__ = ["MISSING", "Parameter", "Signature", "read_signature"]

#: The default of a parameter that has none.
MISSING: Any = inspect.Parameter.empty

_UNRESOLVED = (NameError, AttributeError, SyntaxError, TypeError)


class Parameter(NamedTuple):
    """One parameter as it is called. ``annotation`` is resolved, and ``Any`` when there is none."""

    name: str
    annotation: Any
    default: Any
    positional: bool


class Signature(NamedTuple):
    """What a callable says of itself. ``parameters`` are in order, with the context and the injected ones."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: Any
    context_parameter: str | None
    docstring: Docstring
    is_async: bool


def read_signature(fn: Callable[..., Any], *, name: str | None, context_type: type | None) -> Signature:
    """Read ``fn``. Parameters that a `functools.partial` has bound by keyword are not parameters any more."""
    inner = _innermost(fn)
    name = name or _name(fn, inner)
    if any(
        check(call)
        for call in (fn, inner)
        for check in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    ):
        raise ConfigError(f"{name}(): expected a function that returns its result, got a generator function")
    scope = _scope(inner)
    bound = fn.keywords if isinstance(fn, functools.partial) else {}
    parameters: list[Parameter] = []
    context_parameter: str | None = None
    raw = _signature(fn, name)
    for parameter in raw.parameters.values():
        if parameter.name in bound:
            continue
        where = f"{name}(): parameter {parameter.name!r}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(
                f"{where}: *args and **kwargs have no schema; name the parameters "
                "(a decorator keeps those of the function that it wraps with functools.wraps)"
            )
        try:
            annotation = _resolve(parameter.annotation, scope)
            is_context = context_type is not None and _is_context(annotation, context_type)
        except _UNRESOLVED as error:
            # The context's class is often imported for type checkers only.
            is_context = context_type is not None and _names(parameter.annotation, context_type)
            if not is_context:
                raise ConfigError(f"{where}: cannot resolve {parameter.annotation!r}: {error}") from error
            annotation = context_type
        if is_context:
            if context_parameter is not None:
                raise ConfigError(
                    f"{where}: expected one context parameter, got a second after {context_parameter!r}"
                )
            context_parameter = parameter.name
        positional = parameter.kind is not parameter.KEYWORD_ONLY
        parameters.append(Parameter(parameter.name, annotation, parameter.default, positional))
    return Signature(
        name=name,
        parameters=tuple(parameters),
        returns=_returns(raw.return_annotation, scope),
        context_parameter=context_parameter,
        docstring=parse_docstring(_doc(fn, inner)),
        is_async=inspect.iscoroutinefunction(fn)
        or inspect.iscoroutinefunction(getattr(fn, "__call__", None)),  # noqa: B004
    )


def _signature(fn: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        if sys.version_info >= (3, 14):
            import annotationlib  # one name that cannot be resolved must not stop the others

            return inspect.signature(fn, annotation_format=annotationlib.Format.FORWARDREF)
        return inspect.signature(fn)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}(): expected a callable whose signature can be read, got {fn!r}") from error


def _innermost(fn: Any) -> Any:
    """Return the function that was written: below partials, methods, wrappers and callable objects."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, types.MethodType):
            fn = fn.__func__
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        elif not inspect.isroutine(fn) and not isinstance(fn, type) and inspect.isfunction(type(fn).__call__):
            fn = type(fn).__call__
        else:
            return fn


def _name(fn: Any, inner: Any) -> str:
    if name := getattr(fn, "__name__", None):
        return str(name)
    return str(inner.__name__ if isinstance(fn, functools.partial) else type(fn).__name__)


def _doc(fn: Any, inner: Any) -> str | None:
    # A partial or a callable object inherits the docstring of its class, which may not be about the function.
    if inspect.isroutine(fn) or isinstance(fn, type):
        return inspect.getdoc(fn)
    own = inspect.getdoc(inner)
    return own if own or isinstance(fn, functools.partial) else inspect.getdoc(type(fn))


class _Scope(NamedTuple):
    globals: dict[str, Any]
    locals: Mapping[str, Any]


def _scope(inner: Any) -> _Scope:
    """Return the names that annotations of ``inner`` can see."""
    namespace = getattr(inner, "__globals__", None) or vars(
        sys.modules.get(getattr(inner, "__module__", ""), types)
    )
    found: dict[str, Any] = {}
    outer = str(getattr(inner, "__qualname__", ""))
    while ".<locals>." in outer:
        outer = outer.rpartition(".<locals>.")[0]
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_qualname == outer and frame.f_globals is namespace:
                found = {**frame.f_locals, **found}
                break
            frame = frame.f_back
    if code := getattr(inner, "__code__", None):
        for variable, cell in zip(code.co_freevars, inner.__closure__ or (), strict=True):
            try:
                found[variable] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
    return _Scope(namespace, found)


def _resolve(annotation: Any, scope: _Scope) -> Any:
    """Evaluate strings and forward references anywhere in ``annotation``."""
    if annotation is inspect.Parameter.empty:
        return Any

    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    return typing.get_type_hints(holder, scope.globals, dict(scope.locals), include_extras=True)["it"]


def _returns(annotation: Any, scope: _Scope) -> Any:
    try:
        return _resolve(annotation, scope)
    except _UNRESOLVED:
        return Any  # no schema: what only a type checker can resolve promises nothing on the wire


def _is_context(annotation: Any, context_type: type) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_context(get_args(annotation)[0], context_type)
    if origin in (Union, types.UnionType):
        return any(_is_context(member, context_type) for member in get_args(annotation))
    kind = origin or annotation
    return isinstance(kind, type) and issubclass(kind, context_type)


def _names(annotation: Any, context_type: type) -> bool:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", "")
    return re.search(rf"\b{context_type.__name__}\b", text) is not None
