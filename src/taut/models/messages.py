"""Decode the params and results of methods at a revision, with errors that name the culprit."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from taut.errors import InvalidMessage, InvalidParams, LocalProtocolError, MethodNotFound
from taut.models._base import JsonValue
from taut.models._messages import Result
from taut.models.codec import Buffer, convert, decode, decoder
from taut.models.lifecycle import CancelledParams
from taut.models.meta import CLIENT_CAPABILITIES_KEY, PROTOCOL_VERSION_KEY
from taut.models.registry import INPUT_METHODS, MethodSpec, lookup
from taut.models.revisions import MODERN

__all__ = ["decode_input_response", "decode_params", "decode_result"]

# msgspec's errors, and what comes before it can judge a shape: bad UTF-8, nesting too deep.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_MISSING = "Object missing required field `{}` - at `$.params._meta`"
_NO_REQUEST_ID = "2025-11-25"


def decode_params(method: str, raw: Buffer | None, revision: str) -> Any:
    """Decode the ``params`` of a request or notification into the struct that the method has for them.

    ``raw`` is None when there are none.

    Unknown members are ignored, or kept where the specification asks for it. Raises `InvalidParams` with the
    path of the culprit, and `MethodNotFound` when ``revision`` has no such method.
    """
    spec = lookup(method, revision)
    if spec is None:
        raise MethodNotFound(f"Method not found: {method}", data={"method": method})
    try:
        params = decode(spec.params, b"{}" if raw is None else raw)
    except _UNREADABLE as error:
        raise InvalidParams(_located(error, "$.params")) from None
    if spec.result is not None and revision in MODERN:
        _check_request_meta(params)
    elif isinstance(params, CancelledParams) and params.request_id is UNSET and revision != _NO_REQUEST_ID:
        raise InvalidParams("Object missing required field `requestId` - at `$.params`")
    return params


def decode_result(method: str, raw: Buffer, revision: str) -> Result:
    """Decode the ``result`` of a request: of the method's own type, or one of its `MethodSpec.alternatives`.

    Raises `InvalidMessage` when the peer's result is none of them, `LocalProtocolError` when ``revision`` has
    no such request.
    """
    spec = lookup(method, revision)
    if spec is None or spec.result is None:
        raise LocalProtocolError(f"Expected a request of {revision}, got {method}")
    try:
        if revision not in MODERN:
            return _decode_legacy(spec, spec.result, raw)
        try:
            result: Result = decoder(spec.result).decode(raw)
        except msgspec.ValidationError:
            return _convert_modern(spec, spec.result, msgspec.json.decode(raw))
        if result.result_type is UNSET or result.result_type == "complete":
            return result
        return _convert_modern(spec, spec.result, msgspec.json.decode(raw))
    except _UNREADABLE as error:
        raise InvalidMessage(f"Invalid result of {method}: {_located(error, '$.result')}") from None


def decode_input_response(method: str, value: JsonValue) -> Result:
    """Read one value of ``input_responses``: the result of an input request with this ``method``.

    Raises `InvalidParams` when it does not fit.
    """
    try:
        return convert(value, INPUT_METHODS[method])
    except msgspec.ValidationError as error:
        raise InvalidParams(_located(error, "$.params.inputResponses")) from None


def _decode_legacy(spec: MethodSpec, expected: type[Result], raw: Buffer) -> Result:
    try:
        result: Result = decoder(expected).decode(raw)
        return result
    except msgspec.ValidationError:
        value = msgspec.json.decode(raw)
    task = spec.alternatives.get("task")
    is_task = task is not None and isinstance(value, dict) and isinstance(value.get("task"), dict)
    return convert(value, task if task is not None and is_task else expected)


def _convert_modern(spec: MethodSpec, expected: type[Result], value: Any) -> Result:
    kind = value.get("resultType", "complete") if isinstance(value, dict) else "complete"
    if kind == "complete":
        return convert(value, expected)
    alternative = spec.alternatives.get(kind) if isinstance(kind, str) else None
    if alternative is None:
        known = ", ".join(f"`{name}`" for name in ("complete", *spec.alternatives))
        raise msgspec.ValidationError(f"Expected one of {known}, got {kind!r} - at `$.resultType`")
    return convert(value, alternative)


def _check_request_meta(params: Any) -> None:
    meta = params.meta
    if meta is UNSET:
        raise InvalidParams("Object missing required field `_meta` - at `$.params`")
    if meta.protocol_version is UNSET:
        raise InvalidParams(_MISSING.format(PROTOCOL_VERSION_KEY))
    if meta.client_capabilities is UNSET:
        raise InvalidParams(_MISSING.format(CLIENT_CAPABILITIES_KEY))


def _located(error: Exception, root: str) -> str:
    """Return msgspec's message with its path, which starts at ``$``, put below ``root``."""
    message = str(error)
    head, separator, path = message.rpartition(" - at `$")
    return f"{head} - at `{root}{path}" if separator else f"{message} - at `{root}`"
