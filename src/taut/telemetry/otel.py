"""OpenTelemetry behind the hooks: `OtelTracer` makes spans, `continued` goes on with the trace of a peer.

::

    agent = Agent("clock", model=..., tracer=OtelTracer())

Names are those of OpenTelemetry's conventions for generative AI and for MCP, which are under development: ``chat``
spans are of kind CLIENT, ``invoke_agent`` and ``execute_tool`` INTERNAL; a tool of an MCP server is CLIENT and says
``mcp.method.name``. A span that failed has an exception event, status ERROR and ``error.type``. A run that was
suspended, or work that was cancelled, has not failed: it has ``taut.outcome``. Nothing that was said is recorded,
unless it is in the message of an exception.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, final

import msgspec

from taut.errors import ConfigError, RunSuspended
from taut.telemetry.hooks import Span

try:
    from opentelemetry import context as otel_context
    from opentelemetry import trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    raise ConfigError(
        "Expected opentelemetry-api, which tracing needs, got none: install taut[otel]"
    ) from missing

__all__ = ["OtelSpan", "OtelTracer", "continued"]

#: Names the library that makes the spans (OpenTelemetry, instrumentation scope).
SCOPE = "taut"
ERROR_TYPE = "error.type"
OUTCOME = "taut.outcome"
W3C = TraceContextTextMapPropagator()


@final
class OtelSpan:
    """A span of OpenTelemetry as the hooks have it; ``span`` is the span itself."""

    __slots__ = ("_traceparent", "span")

    def __init__(self, span: trace.Span) -> None:
        self.span = span
        self._traceparent: str | None = None

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context; None where nothing is traced, for want of an SDK."""
        if self._traceparent is None:
            carrier: dict[str, str] = {}
            W3C.inject(carrier, trace.set_span_in_context(self.span))
            self._traceparent = carrier.get("traceparent")
        return self._traceparent

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes. ``error.type`` says that the work has failed, without an exception."""
        self.span.set_attributes(_attributes(attributes))
        if ERROR_TYPE in attributes:
            self.span.set_status(Status(StatusCode.ERROR))

    def end(self, error: BaseException | None = None) -> None:
        """The work is done, or has failed with ``error``."""
        if isinstance(error, RunSuspended):
            self.span.set_attribute(OUTCOME, "suspended")
        elif isinstance(error, asyncio.CancelledError):
            self.span.set_attribute(OUTCOME, "cancelled")
        elif error is not None:
            self.span.record_exception(error)
            self.span.set_attribute(ERROR_TYPE, _name(error))
            self.span.set_status(Status(StatusCode.ERROR, str(error) or None))
        self.span.end()


@final
class OtelTracer:
    """Makes spans with the tracer provider given, or the global one.

    A span without a parent among ours gets the one that is current in the calling context, if there is one: that of
    the web request an agent runs in, or of a peer (`continued`).

    :param attributes: of every span, such as ``gen_ai.provider.name``, which no agent knows.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        *,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, _version(), tracer_provider)
        self._common = _attributes(attributes or {})

    def begin(self, name: str, attributes: Mapping[str, Any], parent: Span | None) -> OtelSpan:
        """Begin a span. See `taut.telemetry.hooks.Tracer`.

        :raises taut.errors.ConfigError: the parent was made by another tracer.
        """
        context = None
        if parent is not None:
            if not isinstance(parent, OtelSpan):
                raise ConfigError(
                    f"Expected a parent that an OtelTracer has made, got {type(parent).__name__}"
                )
            context = trace.set_span_in_context(parent.span)
        given = dict(attributes)
        kind = SpanKind.INTERNAL
        operation = given.get("gen_ai.operation.name")
        if operation == "chat":
            kind = SpanKind.CLIENT
        elif operation == "execute_tool":
            kind = _describe_tool(given)
        span = self._tracer.start_span(
            name, context, kind=kind, attributes={**self._common, **_attributes(given)}
        )
        return OtelSpan(span)


@contextlib.contextmanager
def continued(meta: object) -> Iterator[None]:
    """Have spans that are begun in this block, and in tasks that are made in it, go on with the trace of a peer.

    ``meta`` is the ``_meta`` of its request, `taut.models.RequestMeta` or a mapping; without a trace context in it
    nothing happens. ``with continued(ctx.meta): await agent.run(...)`` in a tool, or
    ``serve_agents(..., tracing=continued)``.
    """
    carrier = {}
    for name in ("traceparent", "tracestate"):
        value = meta.get(name) if isinstance(meta, Mapping) else getattr(meta, name, None)
        if isinstance(value, str):
            carrier[name] = value
    token = otel_context.attach(W3C.extract(carrier, otel_context.get_current()))
    try:
        yield
    finally:
        otel_context.detach(token)


def _version() -> str | None:
    """Return our version; None where the package is not installed, but found on the path."""
    try:
        return metadata.version("taut")
    except metadata.PackageNotFoundError:
        return None


def _describe_tool(attributes: dict[str, Any]) -> SpanKind:
    """Say of a call what the conventions want to know, by where the tool is from; returns the kind of its span."""
    source = str(attributes.get("taut.tool.origin", "")).partition(":")[0]
    if source in ("", "function", "agent"):
        attributes["gen_ai.tool.type"] = "function"
        return SpanKind.INTERNAL
    # Its span is the client's span of the call as well (conventions for MCP, "Client").
    attributes |= {"gen_ai.tool.type": "extension", "mcp.method.name": "tools/call", "taut.server": source}
    return SpanKind.CLIENT


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _attributes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``given`` as OpenTelemetry takes it: without what is not known, and JSON for what is no plain value."""
    return {name: _value(value) for name, value in given.items() if value is not None}


def _value(value: Any) -> Any:
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
        return list(value)
    return msgspec.json.encode(value, enc_hook=str).decode()
