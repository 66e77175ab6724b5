"""Which era and revision a client and a server speak, as a state machine without I/O.

The driver sends the request of each `Step` and reports how it ended; the machine names the next step or the
`Agreement`. Rules (specification 2026-07-28, "Versioning" and the stdio binding):

- ``auto`` probes with ``server/discover`` at the newest modern revision. A result that lists a revision of ours:
  modern. -32022 with a revision of ours: ask once more at that one. -32022 that lists modern revisions only,
  none of them ours: no common revision. Every other error, a timeout, a result that makes no sense: the server
  is legacy, and gets ``initialize``. Should *that* be refused with -32022, the probe had raced a slow server:
  probe once more.
- ``legacy`` starts with ``initialize``; a revision of either era pins it.
- A lost connection is no verdict on the era: it ends the negotiation. An HTTP status is one where it says that the
  server does not know what to do with a probe, and none where it says that it is not there, or not for us.
"""

from __future__ import annotations

import msgspec

from taut import models
from taut.errors import (
    ConfigError,
    HttpError,
    RemoteProtocolError,
    TautError,
    TransportError,
    UnsupportedProtocolVersion,
)

__all__ = ["Agreement", "Negotiation", "Step"]

#: HTTP statuses that tell nothing of the era: who asks, and whether anybody is there.
NO_VERDICT = frozenset({401, 403, 407, 408, 421, 425, 429, 502, 503, 504})
AUTO = "auto"
LEGACY = "legacy"


class Step(msgspec.Struct, frozen=True):
    """A request to send: ``server/discover`` or ``initialize``, at ``revision``."""

    method: str
    revision: str

    @property
    def is_probe(self) -> bool:
        """Whether the server may be of the other era, so that silence is an answer as well."""
        return self.method == "server/discover"


class Agreement(msgspec.Struct, frozen=True):
    """What was agreed, and what the server says of itself."""

    revision: str
    discovered: models.DiscoverResult | None = None
    initialized: models.InitializeResult | None = None

    @property
    def modern(self) -> bool:
        """Whether requests carry their own terms."""
        return self.discovered is not None

    @property
    def server_capabilities(self) -> models.ServerCapabilities:
        """What the server declared."""
        info = self.discovered or self.initialized
        return models.ServerCapabilities() if info is None else info.capabilities

    @property
    def server_info(self) -> models.Implementation | None:
        """The server's name and version, where it gave them."""
        if self.initialized is not None:
            return self.initialized.server_info
        meta = msgspec.UNSET if self.discovered is None else self.discovered.meta
        given = None if meta is msgspec.UNSET else meta.get("io.modelcontextprotocol/serverInfo")
        return None if given is None else msgspec.convert(given, models.Implementation)

    @property
    def instructions(self) -> str | None:
        """How to use the server, in its own words."""
        info = self.discovered or self.initialized
        return None if info is None or info.instructions is msgspec.UNSET else info.instructions


class Negotiation:
    """One negotiation. ``mode`` is ``auto``, ``legacy`` or a revision.

    :raises taut.errors.ConfigError: the mode is none of these.
    """

    def __init__(self, mode: str = AUTO) -> None:
        if mode not in (AUTO, LEGACY) and mode not in models.REVISIONS:
            raise ConfigError(
                f"Expected mode auto, legacy or one of {', '.join(models.REVISIONS)}, got {mode!r}"
            )
        self._mode = mode
        self._probes = 0
        self._may_initialize = mode in (AUTO, LEGACY) or mode in models.LEGACY
        self._may_probe = mode == AUTO or mode in models.MODERN

    def first(self) -> Step:
        """Return the first request to send."""
        if self._mode == LEGACY:
            return Step("initialize", models.LATEST_LEGACY)
        if self._mode in models.LEGACY:
            return Step("initialize", self._mode)
        return self._probe(models.LATEST if self._mode == AUTO else self._mode)

    def answered(self, step: Step, result: object) -> Step | Agreement:
        """Go on after a result.

        :raises taut.errors.UnsupportedProtocolVersion: the server speaks no revision that is allowed here.
        """
        if isinstance(result, models.DiscoverResult):
            if step.revision in result.supported_versions:
                return Agreement(step.revision, discovered=result)
            common = _newest_common(result.supported_versions)
            if common is not None and self._mode == AUTO:
                return Agreement(common, discovered=result)
            return self._initialize_or_raise(_no_common(result.supported_versions, step.revision))
        if isinstance(result, models.InitializeResult):
            revision = result.protocol_version
            if revision not in models.LEGACY or (self._mode in models.LEGACY and revision != self._mode):
                raise _no_common([revision], step.revision)
            return Agreement(revision, initialized=result)
        raise TypeError(f"Expected a DiscoverResult or an InitializeResult, got {type(result).__name__}")

    def failed(self, step: Step, error: TautError) -> Step:
        """Go on after an error.

        :raises taut.errors.TautError: ``error`` itself when it ends the negotiation.
        """
        verdict = isinstance(error, HttpError) and error.status not in NO_VERDICT
        if isinstance(error, TransportError) and not verdict:
            raise error
        if not step.is_probe:
            if isinstance(error, UnsupportedProtocolVersion) and self._may_probe and self._probes == 1:
                return self._probe(models.LATEST)
            raise error
        if isinstance(error, UnsupportedProtocolVersion):
            supported = _supported(error)
            common = _newest_common(supported)
            if common is not None and self._mode == AUTO and self._probes == 1:
                return self._probe(common)
            if supported and not any(revision in models.LEGACY for revision in supported):
                raise error
        return self._initialize_or_raise(error)

    def _probe(self, revision: str) -> Step:
        self._probes += 1
        return Step("server/discover", revision)

    def _initialize_or_raise(self, error: TautError) -> Step:
        if not self._may_initialize:
            raise error
        return Step("initialize", models.LATEST_LEGACY)


def _newest_common(revisions: list[str]) -> str | None:
    """Return the newest modern revision of ours that is among ``revisions``."""
    ours = [revision for revision in models.REVISIONS if revision in models.MODERN and revision in revisions]
    return ours[-1] if ours else None


def _supported(error: UnsupportedProtocolVersion) -> list[str]:
    supported = error.data.get("supported") if isinstance(error.data, dict) else None
    return [item for item in supported if isinstance(item, str)] if isinstance(supported, list) else []


def _no_common(offered: list[str], requested: str) -> TautError:
    names = ", ".join(offered) or "none"
    if not offered:
        return RemoteProtocolError(f"Expected a server that speaks {requested}; it lists no revision at all")
    return UnsupportedProtocolVersion(
        f"Expected a server that speaks {requested}; it offers {names}",
        data={"supported": offered, "requested": requested},
    )
