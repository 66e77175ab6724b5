"""Which era and revision are agreed, and after how many requests."""

from __future__ import annotations

import pytest

from taut import models
from taut.errors import (
    ConfigError,
    ConnectionClosed,
    HttpError,
    InternalError,
    InvalidParams,
    MethodNotFound,
    RemoteError,
    RequestTimeout,
    TautError,
    UnsupportedProtocolVersion,
)
from taut.mcp.negotiation import Agreement, Negotiation, Step

PROBE = Step("server/discover", "2026-07-28")
INITIALIZE = Step("initialize", "2025-11-25")


def discovered(*revisions: str) -> models.DiscoverResult:
    return models.DiscoverResult(
        supported_versions=list(revisions),
        capabilities=models.ServerCapabilities(),
        ttl_ms=0,
        cache_scope="private",
    )


def initialized(revision: str) -> models.InitializeResult:
    return models.InitializeResult(
        protocol_version=revision,
        capabilities=models.ServerCapabilities(),
        server_info=models.Implementation("server", "1"),
    )


def unsupported(*supported: str) -> UnsupportedProtocolVersion:
    return UnsupportedProtocolVersion.of("2026-07-28", supported)


def test_auto_probes_first_and_adopts_a_modern_server() -> None:
    negotiation = Negotiation("auto")
    assert negotiation.first() == PROBE
    agreement = negotiation.answered(PROBE, discovered("2026-07-28"))
    assert isinstance(agreement, Agreement)
    assert (agreement.revision, agreement.modern) == ("2026-07-28", True)


@pytest.mark.parametrize(
    "error",
    [
        MethodNotFound("no such method"),
        InvalidParams("bad params"),
        InternalError("oops"),
        RemoteError("not initialized", code=-32000),
        RemoteError("legacy", code=-1),
        RequestTimeout("server/discover", 5),
        TautError("answered nonsense"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_of_the_probe_means_legacy(error: TautError) -> None:
    negotiation = Negotiation("auto")
    assert negotiation.failed(negotiation.first(), error) == INITIALIZE


def test_a_lost_connection_is_no_verdict() -> None:
    negotiation = Negotiation("auto")
    with pytest.raises(ConnectionClosed):
        negotiation.failed(negotiation.first(), ConnectionClosed("gone"))


def test_a_discovery_without_a_modern_revision_means_legacy() -> None:
    negotiation = Negotiation("auto")
    assert negotiation.answered(negotiation.first(), discovered("2025-11-25")) == INITIALIZE
    assert negotiation.answered(PROBE, discovered()) == INITIALIZE


def test_a_refusal_that_lists_modern_revisions_only_ends_it() -> None:
    negotiation = Negotiation("auto")
    with pytest.raises(UnsupportedProtocolVersion):
        negotiation.failed(negotiation.first(), unsupported("2027-01-01"))


def test_a_refusal_that_lists_a_legacy_revision_too_falls_back() -> None:
    negotiation = Negotiation("auto")
    assert negotiation.failed(negotiation.first(), unsupported("2027-01-01", "2025-11-25")) == INITIALIZE


def test_a_refusal_without_readable_data_falls_back() -> None:
    negotiation = Negotiation("auto")
    assert (
        negotiation.failed(negotiation.first(), UnsupportedProtocolVersion("no", data={"supported": 3}))
        == INITIALIZE
    )


def test_initialize_refused_as_unsupported_probes_once_more() -> None:
    negotiation = Negotiation("auto")
    step = negotiation.failed(negotiation.first(), RequestTimeout("server/discover", 5))
    again = negotiation.failed(step, unsupported("2026-07-28"))
    assert again == PROBE
    agreement = negotiation.answered(again, discovered("2026-07-28"))
    assert isinstance(agreement, Agreement)
    assert agreement.modern


def test_it_ends_when_the_second_probe_leads_back_to_a_refusal() -> None:
    negotiation = Negotiation("auto")
    step = negotiation.failed(negotiation.first(), RequestTimeout("server/discover", 5))
    step = negotiation.failed(step, unsupported("2026-07-28"))
    step = negotiation.failed(step, RequestTimeout("server/discover", 5))
    assert step == INITIALIZE
    with pytest.raises(UnsupportedProtocolVersion):
        negotiation.failed(step, unsupported("2026-07-28"))


@pytest.mark.parametrize("revision", sorted(models.LEGACY))
def test_legacy_mode_takes_whatever_legacy_revision_the_server_answers(revision: str) -> None:
    negotiation = Negotiation("legacy")
    assert negotiation.first() == INITIALIZE
    agreement = negotiation.answered(INITIALIZE, initialized(revision))
    assert isinstance(agreement, Agreement)
    assert (agreement.revision, agreement.modern) == (revision, False)


@pytest.mark.parametrize("revision", ["2026-07-28", "1999-01-01"])
def test_initialize_answered_with_a_revision_that_has_no_sessions_is_refused(revision: str) -> None:
    negotiation = Negotiation("legacy")
    with pytest.raises(UnsupportedProtocolVersion):
        negotiation.answered(negotiation.first(), initialized(revision))


def test_a_pinned_legacy_revision_accepts_no_other() -> None:
    negotiation = Negotiation("2025-06-18")
    step = negotiation.first()
    assert step == Step("initialize", "2025-06-18")
    with pytest.raises(UnsupportedProtocolVersion):
        negotiation.answered(step, initialized("2025-11-25"))


def test_a_pinned_modern_revision_never_falls_back() -> None:
    negotiation = Negotiation("2026-07-28")
    assert negotiation.first() == PROBE
    with pytest.raises(MethodNotFound):
        negotiation.failed(PROBE, MethodNotFound("no"))
    with pytest.raises(UnsupportedProtocolVersion):
        negotiation.answered(PROBE, discovered("2025-11-25"))


def test_legacy_mode_never_probes() -> None:
    negotiation = Negotiation("legacy")
    with pytest.raises(UnsupportedProtocolVersion):
        negotiation.failed(negotiation.first(), unsupported("2026-07-28"))


def test_an_unknown_mode_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"auto, legacy or one of 2024-11-05.*got 'newest'"):
        Negotiation("newest")


def test_a_refusal_that_lists_what_was_asked_for_asks_once_more() -> None:
    negotiation = Negotiation("auto")
    again = negotiation.failed(negotiation.first(), unsupported("2026-07-28"))
    assert again == PROBE
    with pytest.raises(UnsupportedProtocolVersion):
        negotiation.failed(again, unsupported("2026-07-28"))


def test_a_status_tells_of_the_era_only_where_the_server_has_read_the_probe() -> None:
    for status in (400, 404, 405, 406, 500):
        negotiation = Negotiation("auto")
        assert negotiation.failed(negotiation.first(), HttpError("no", status)) == INITIALIZE
    for status in (401, 403, 429, 502, 503, 504):
        negotiation = Negotiation("auto")
        with pytest.raises(HttpError):
            negotiation.failed(negotiation.first(), HttpError("no", status))
