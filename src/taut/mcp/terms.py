"""The terms of a request: who asks and at which revision, as a modern one says in its ``_meta`` (2026-07-28), and the
codes that errors have there."""

from __future__ import annotations

import msgspec

from taut import models
from taut._core import Envelope
from taut.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    LEGACY_RESOURCE_NOT_FOUND,
    URL_ELICITATION_REQUIRED,
    InvalidParams,
    ProtocolError,
    RemoteError,
    ResourceNotFound,
    UnsupportedProtocolVersion,
)
from taut.mcp.inbound import Caller

__all__ = ["caller_of", "check_terms", "decode_meta", "missing_meta", "wire_code"]


def decode_meta(message: Envelope) -> models.RequestMeta:
    """Return the ``_meta`` of ``message``, which has one.

    :raises taut.errors.InvalidParams: it is malformed.
    """
    try:
        meta: models.RequestMeta = models.decode(models.RequestMeta, message.meta)
    except msgspec.DecodeError as error:
        raise InvalidParams(f"Invalid _meta: {error}") from error
    return meta


def check_terms(meta: models.RequestMeta) -> None:
    """Check that what every modern request must say is there.

    :raises taut.errors.InvalidParams: it is not.
    """
    if meta.protocol_version is msgspec.UNSET:
        raise missing_meta(models.PROTOCOL_VERSION_KEY)
    if meta.client_capabilities is msgspec.UNSET:
        raise missing_meta(models.CLIENT_CAPABILITIES_KEY)


def caller_of(meta: models.RequestMeta, supported: tuple[str, ...]) -> Caller:
    """Return who asks, under terms that `check_terms` has seen.

    :raises taut.errors.UnsupportedProtocolVersion: the revision is none of ``supported``.
    """
    revision = str(meta.protocol_version)
    if revision not in supported:
        raise UnsupportedProtocolVersion.of(revision, supported)
    assert meta.client_capabilities is not msgspec.UNSET
    return Caller(
        revision=revision,
        capabilities=meta.client_capabilities,
        implementation=None if meta.client_info is msgspec.UNSET else meta.client_info,
        log_level=None if meta.log_level is msgspec.UNSET else meta.log_level,
    )


def missing_meta(key: str) -> InvalidParams:
    """Return the error for a request that lacks ``key``."""
    return InvalidParams(f"Expected _meta with {key} (revision 2026-07-28), got none")


def wire_code(error: RemoteError | ProtocolError, revision: str | None) -> int:
    """Return the code that ``error`` has at ``revision``.

    2026-07-28 has taken two codes away, which handlers may still pass on from elsewhere.
    """
    code = error.code
    if revision is not None and revision in models.LEGACY:
        return LEGACY_RESOURCE_NOT_FOUND if isinstance(error, ResourceNotFound) else code
    if code == LEGACY_RESOURCE_NOT_FOUND:
        return INVALID_PARAMS
    return INTERNAL_ERROR if code == URL_ELICITATION_REQUIRED else code
