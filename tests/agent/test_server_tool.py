"""Tools of servers: what a call of one carries, and what a model sees of what comes back."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from msgspec import UNSET

from agent.worlds import run
from taut import models
from taut.agent import Agent, ToolPolicy
from taut.agent import events as ev
from taut.agent.server_tool import content_of_result
from taut.agent.toolbox import names_of
from taut.errors import ConnectionClosed, RemoteError, RequestTimeout
from taut.llm.messages import Audio, Image, Text, ToolResult
from taut.testing import ScriptedModel, call

PNG = base64.b64encode(b"\x89PNG").decode()


class Lease:
    """A server that notes what its calls come with."""

    version = 1
    name = "s"

    def __init__(self, tool: models.Tool, answer: Any = None, progress: Any = None) -> None:
        self.servers = {"s": object()}
        self.names = ("s",)
        self.calls: list[tuple[Any, ...]] = []
        self._tool, self._answer, self._progress = tool, answer, progress
        self.server_info = None
        self.instructions = None

    def lease(self, name: str) -> Lease:
        return self

    async def tools(self) -> list[models.Tool]:
        return [self._tool]

    async def client(self) -> Lease:
        return self

    async def call_tool(self, name: str, arguments: Any, **options: Any) -> models.CallToolResult:
        self.calls.append((name, arguments, options))
        if self._progress is not None and "on_progress" in options:
            options["on_progress"](self._progress)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer or models.CallToolResult([models.TextContent("done")])

    async def release(self) -> None:
        pass


def tool(**hints: bool) -> models.Tool:
    annotations = models.ToolAnnotations(**hints) if hints else UNSET
    return models.Tool("look.up", {"type": "object"}, annotations=annotations)


def agent(lease: Lease, *calls: Any, **options: Any) -> Agent[Any]:
    return Agent("a", model=ScriptedModel(*calls), pool=lease, servers=["s"], **options)  # type: ignore[arg-type]


#: What the model sees in its place: a dot is no part of a name.
NAME = names_of({"s": [tool()]})["s", "look.up"]


def results_of(result: Any) -> list[ToolResult]:
    return [part for message in result.messages for part in message.content if isinstance(part, ToolResult)]


class TestCall:
    def test_it_has_a_key_of_its_own_and_nothing_that_is_not_wanted(self) -> None:
        lease = Lease(tool())
        run(agent(lease, [call(NAME, n=1), call(NAME, n=2)], "Done.").run("Go", run_id="r"))
        assert lease.calls == [
            (
                "look.up",
                {"n": n},
                {"replay": False, "meta": {"dev.taut/idempotency-key": f"r:1.{n - 1}.{NAME}#1"}},
            )
            for n in (1, 2)
        ]

    def test_it_has_the_time_of_its_policy(self) -> None:
        lease = Lease(tool())
        run(agent(lease, call(NAME), "Done.", policy=ToolPolicy(timeouts_s={"s:look.*": 5})).run("Go"))
        assert lease.calls[0][2]["timeout_s"] == 5

    @pytest.mark.parametrize(
        ("hints", "policy", "replay"),
        [
            ({"idempotent_hint": True}, ToolPolicy(), False),
            ({"idempotent_hint": True}, ToolPolicy(trust=("s",)), True),
            ({"read_only_hint": True}, ToolPolicy(trust=("*",)), True),
            ({"read_only_hint": False}, ToolPolicy(trust=("*",)), False),
            ({}, ToolPolicy(trust=("*",)), False),
            ({}, ToolPolicy(idempotent=("s:look.up",)), True),
        ],
    )
    def test_it_is_sent_again_only_where_that_does_nothing(
        self, hints: dict[str, bool], policy: ToolPolicy, replay: bool
    ) -> None:
        lease = Lease(tool(**hints))
        run(agent(lease, call(NAME), "Done.", policy=policy).run("Go"))
        assert lease.calls[0][2]["replay"] is replay

    def test_progress_is_asked_for_where_somebody_listens(self) -> None:
        lease = Lease(tool(), progress=models.ProgressParams("t", 1, total=0, message=UNSET))
        heard: list[ev.Event] = []
        run(agent(lease, call(NAME), "Done.").run("Go", listener=heard.append))
        (told,) = [event for event in heard if isinstance(event, ev.ToolProgress)]
        assert (told.progress, told.total, told.message) == (1, None, "")

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (RemoteError("no such thing", code=-32602), "refused the call: no such thing"),
            (RequestTimeout("tools/call", 3), "did not answer within 3 s; it was told to stop"),
            (ConnectionClosed(sent=True), "cannot be reached (the call may have been made)"),
            (ConnectionClosed(sent=False), "cannot be reached (the call was not made)"),
        ],
    )
    def test_what_it_fails_with_is_told_to_the_model(self, error: Exception, told: str) -> None:
        lease = Lease(tool(), answer=error)
        (result,) = results_of(run(agent(lease, call(NAME), "Done.").run("Go")))
        assert result.is_error
        assert told in result.text


@pytest.mark.parametrize(
    ("result", "content"),
    [
        (models.CallToolResult([models.TextContent("a")]), "a"),
        (models.CallToolResult([models.TextContent("a"), models.TextContent("b")]), "a\nb"),
        (models.CallToolResult([]), "done"),
        (models.CallToolResult([], is_error=True), "failed"),
        (models.CallToolResult([], structured_content={"n": 1}), '{"n":1}'),
        (models.CallToolResult([], structured_content=None), "null"),
        (
            models.CallToolResult([models.TextContent("a"), models.ImageContent(PNG, "image/png")]),
            (Text("a"), Image(PNG, "image/png")),
        ),
        (models.CallToolResult([models.AudioContent(PNG, "audio/wav")]), (Audio(PNG, "audio/wav"),)),
        (
            models.CallToolResult([models.ResourceLink(name="n", uri="file:///n", description="a note")]),
            "[resource n at file:///n: a note]",
        ),
        (
            models.CallToolResult([models.ResourceLink(name="n", uri="file:///n")]),
            "[resource n at file:///n]",
        ),
        (
            models.CallToolResult([models.EmbeddedResource(models.ResourceContents("file:///n", text="hi"))]),
            "hi",
        ),
        (
            models.CallToolResult(
                [models.EmbeddedResource(models.ResourceContents("x:y", blob=PNG, mime_type="image/png"))]
            ),
            (Image(PNG, "image/png"),),
        ),
        (
            models.CallToolResult([models.EmbeddedResource(models.ResourceContents("x:y", blob=PNG))]),
            "[resource x:y, binary, 4 bytes]",
        ),
        (
            models.CallToolResult([models.EmbeddedResource(models.ResourceContents("x:y", blob="!"))]),
            "[resource x:y, binary, 0 bytes]",
        ),
        (models.CallToolResult([models.ImageContent("!", "image/png")]), "[image/png that is no base64]"),
        (
            models.CallToolResult([models.ImageContent(f"{PNG[:4]}\n{PNG[4:]}\n", "image/png")]),
            (Image(PNG, "image/png"),),
        ),
        (
            models.CallToolResult([models.UnknownContent({"type": "hologram"})]),
            "[content of type hologram]",
        ),
    ],
)
def test_a_model_sees_what_a_server_returned(result: models.CallToolResult, content: Any) -> None:
    assert content_of_result(result) == content
