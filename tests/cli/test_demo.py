"""The demo meets its servers, and its numbers come from answers that were checked."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from cli.conftest import Taut
from taut.cli import demo_agent, throughput
from taut.cli.demo import EXAMPLE, FLOOR
from taut.errors import TransportError
from taut.llm.messages import Usage
from taut.testing import ScriptedModel, call

pytestmark = pytest.mark.processes

OTHER = Path(__file__).parents[2] / ".demo" / "bin" / "mcp-server-time"
WRONG = """
import json, sys
for line in sys.stdin:
    answer = {"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": {"content": [{"text": "1"}]}}
    print(json.dumps(answer), flush=True)
"""


def test_the_example_server_shows_one_of_everything(taut: Taut) -> None:
    status, out, err = taut("demo", "--calls", "0")
    assert (status, err) == (0, "")
    for part in (
        "2026-07-28, modern era",
        "2025-11-25 in the legacy era",
        "4 tools, 1 resource, 1 resource template, 1 prompt",
        '{"count":3,"mean":4.0,"largest":8.0}',
        "counted to 5, after 5 progress notifications",
        "Hello, Ada!",
        "2026-07-28 is of the modern era",
        "Explain elicitation to me",
    ):
        assert part in out
    lines = out.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 100


def test_json_has_the_servers_and_the_rates(taut: Taut) -> None:
    outcome = taut("demo", "--calls", "100", "--json")
    assert (outcome.status, outcome.err) == (0, "")
    shown = outcome.json
    (server,) = shown["servers"]
    assert server["serverInfo"]["name"] == "taut-demo"
    assert (server["revision"], server["era"], server["legacyRevision"]) == (
        "2026-07-28",
        "modern",
        "2025-11-25",
    )
    assert server["offers"] == {"tool": 4, "resource": 1, "resource template": 1, "prompt": 1}
    assert [step["answer"] for step in server["steps"]][:1] == ["42"]
    assert set(shown["throughput"]) == {"taut", "floor"}
    assert all(rate["callsPerS"] > 0 for rate in shown["throughput"].values())


def test_another_server_may_be_met_and_called(taut: Taut, server: str) -> None:
    other = shlex.join([sys.executable, "-m", "taut", "serve", server])
    words = ("demo", "--calls", "0", "--also", other, "--also-call", "add a=1 b=1", "--also-call")
    status, out, _ = taut(*words, "echo text='two words'")
    assert status == 0
    assert "example 1.5  2026-07-28, modern era" in out
    assert "two words" in out
    assert taut(*words, "fail why=x").status == 1


def test_the_table_compares_with_the_floor(taut: Taut) -> None:
    out = taut("demo", "--calls", "200").out
    header, ours, floor = out.splitlines()[-3:]
    assert header.startswith("add(a, b), 64 calls in flight")
    assert ours.startswith("taut: a complete server")
    assert floor.startswith("floor: a bare uvloop + msgspec loop")


@pytest.mark.skipif(not OTHER.exists(), reason="make demo installs it")
def test_a_server_of_another_make_is_met_in_both_eras(taut: Taut) -> None:
    words = ("demo", "--calls", "0", "--json", "--also", f"{OTHER} --local-timezone UTC", "--also-call")
    _, other = taut(*words, "get_current_time timezone=Asia/Tokyo").json["servers"]
    assert other["legacyRevision"] == "2025-11-25"
    assert other["offers"]["tool"] == 2
    assert '"timezone":"Asia/Tokyo"' in other["steps"][0]["answer"]


CLOCK = """
from taut import Server
app = Server("clock")

@app.tool
def get_current_time(timezone: str) -> str:
    return '{"timezone": "%s", "datetime": "2026-11-26T21:34:00+09:00", "day_of_week": "Thursday"}' % timezone

app.run()
"""
TASK = "What time is it in Tokyo? Note it."


class TestJob:
    def script(self) -> ScriptedModel:
        return ScriptedModel(
            "x",  # it is asked once before the clock starts
            '{"timezone": "Asia/Tokyo"}',
            call("clock__get_current_time", timezone="Asia/Tokyo"),
            lambda request: request.messages[0].text.partition(": ")[2].capitalize(),
            lambda request: call(
                "notes__write_note", title="time", text=request.messages[0].text.split('"')[3]
            ),
            usage=Usage(10, 5, requests=1),
        )

    @pytest.mark.parametrize("quiet", [False, True])
    def test_agents_do_it_with_two_servers(
        self, quiet: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "clock.py").write_text(CLOCK)
        clock = [sys.executable, str(tmp_path / "clock.py")]
        job = demo_agent.work(self.script(), TASK, clock, quiet=quiet)
        assert job.notes == "time: The time in tokyo is 21:34 on thursday."
        assert (job.requests, job.tokens, job.tool_calls) == (4, 60, 2)
        assert job.total_s >= job.tools_s > 0
        said = capfd.readouterr().err
        assert ("clock__get_current_time" in said) is not quiet

    def test_where_the_time_went_adds_up(self, capsys: pytest.CaptureFixture[str]) -> None:
        job = demo_agent.Job("t", "o", "n: x", 4, 100, 2, total_s=10.0, model_s=8.0, tools_s=0.5)
        assert job.own_s == 1.5
        demo_agent.show_job(job)
        out = capsys.readouterr().out
        assert "8,000" in out
        assert "80.0%" in out
        assert "15.0%" in out

    def test_it_needs_a_server_that_tells_the_time(self, taut: Taut) -> None:
        outcome = taut("demo", "--model", "local")
        assert outcome.status == 2
        assert "Expected --time-server COMMAND along with --model" in outcome.err

    @pytest.mark.local
    @pytest.mark.skipif(not OTHER.exists(), reason="make demo installs it")
    def test_a_real_model_does_it_with_a_real_server(self, taut: Taut) -> None:
        words = ("demo", "--calls", "0", "--json", "--model", "local", "--time-server")
        job = taut(*words, f"{OTHER} --local-timezone UTC").json["job"]
        assert job["toolCalls"] == 2
        assert "Tokyo" in job["notes"]


class TestThroughput:
    def test_every_call_of_every_round_is_answered_and_checked(self) -> None:
        rates = throughput.measure({"taut": EXAMPLE, "floor": FLOOR}, 300)
        assert set(rates) == {"taut", "floor"}
        assert all(rate.calls_per_s > 0 for rate in rates.values())
        if sys.platform == "linux":
            assert all(rate.server_cpu_us is not None and rate.server_cpu_us > 0 for rate in rates.values())

    def test_a_server_that_answers_wrongly_has_no_rate(self) -> None:
        with pytest.raises(
            TransportError, match=r"^Expected the server liar to answer each call with its sum$"
        ):
            throughput.measure({"liar": [sys.executable, "-c", WRONG]}, 10)

    @pytest.mark.parametrize("code", ["pass", "import sys; sys.stdin.readline()"])
    def test_a_server_that_ends_has_no_rate(self, code: str) -> None:
        with pytest.raises(
            TransportError, match=r"^The server mute ended under load, or was silent for 20 s$"
        ):
            throughput.measure({"mute": [sys.executable, "-c", code]}, 10)
