"""taut over HTTP with the clients and servers of the other SDKs, step by step, in both eras.

One server of each make serves all clients: none may leave anything behind that the next one notices.
"""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from taut import Client

from .expected import STEPS, check_end, check_step
from .matrix import LEGACY, PARTIES, Outcome, Pair, Party, Servers, need, outcome, pairs

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as running:
        yield running


@pytest.fixture(params=pairs(http=True), ids=str, scope="module")
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    need(found)
    return found


@pytest.fixture
def result(pair: Pair, servers: Servers) -> Outcome:
    return outcome(pair, servers.url(pair.server))


@pytest.mark.parametrize("step", STEPS)
def test_step(pair: Pair, step: str, result: Outcome) -> None:
    check_step(pair, step, result)


def test_client_ends_cleanly(result: Outcome) -> None:
    check_end(result)


def test_a_client_that_has_left_has_ended_its_session(pair: Pair, servers: Servers, result: Outcome) -> None:
    session = result.seen["session"]
    if session is None:
        pytest.skip("there is none, or the SDK does not tell its id")
    assert status_of(servers.url(pair.server), session, PING) == 404


# -- our client, when the server has forgotten it

SERVERS = list(PARTIES.values())
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def status_of(url: str, session: str, body: bytes | None) -> int:
    """Send a message in a session, or with None its end; return the HTTP status."""
    headers = {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-session-id": session,
        "mcp-protocol-version": LEGACY,
    }
    request = urllib.request.Request(url, body, headers, method="DELETE" if body is None else "POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("party", SERVERS, ids=lambda party: party.name)
def test_our_client_begins_another_session_once_for_parallel_calls(party: Party, servers: Servers) -> None:
    need(Pair(PARTIES["taut"], "legacy", party))
    sessions = []

    async def main() -> list[str]:
        async with Client(servers.url(party), mode="legacy") as client:
            await client.call_tool("add", {"a": 1, "b": 2})
            sessions.append(client.session_id)
            ended = await asyncio.to_thread(status_of, servers.url(party), client.session_id, None)
            assert ended in (200, 202, 204)
            calls = (client.call_tool("add", {"a": number, "b": 1}) for number in range(5))
            results = await asyncio.gather(*calls)
            sessions.append(client.session_id)
            return [result.content[0].text for result in results]

    assert asyncio.run(main()) == ["1", "2", "3", "4", "5"]
    assert sessions[0] != sessions[1]
