"""Calls that need approval, put to the user of the client that waits: in both eras, with nothing done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agent.desks import ERAS, LEGACY, MODERN, Desk, approve, info, reached, run_of
from agent.worlds import run, until
from taut import Client, TautError, models
from taut.errors import InvalidParams
from taut.models import ElicitResult


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", "http"])
def over(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class User:
    """Answers forms by the name that is to be paid, and remembers what was shown."""

    def __init__(self, **answers: ElicitResult) -> None:
        self.shown: list[str] = []
        self._answers = answers

    def __call__(self, params: models.ElicitParams) -> ElicitResult:
        self.shown.append(params.message)
        return next((answer for name, answer in self._answers.items() if name in params.message), YES)


YES = ElicitResult(action="accept", content={"approve": True})
NO = ElicitResult(action="accept", content={"approve": False, "reason": "too much"})
DECLINE = ElicitResult(action="decline")
DISMISS = ElicitResult(action="cancel")
ALL_PAID = ["look", "pay Ada"]


class TestAsked:
    def test_the_user_is_asked_and_nothing_is_done_twice(self, era: str, over: str) -> None:
        async def main() -> None:
            desk, user = Desk(), User()
            async with reached(desk.app, over, era, elicitation=user) as client:
                result = await client.call_tool("clerk", {"task": "Ada"})
                assert result.text == "paid Ada"
                assert desk.done == ALL_PAID
                assert len(desk.asked) == 3  # the model: once for each of its messages
                (shown,) = user.shown
                assert shown == 'The agent clerk wants to call function:pay with\n{\n  "to": "Ada"\n}'
                ended = await info(client, "run_status", run_id=run_of(result))
                assert (ended["status"], ended["output"], ended["tool_calls"]) == ("completed", "paid Ada", 2)

        run(main())

    def test_as_often_as_there_is_something_to_approve(self, era: str, over: str) -> None:
        async def main() -> None:
            desk, user = Desk(), User(Bob=NO)
            said: list[str] = []
            async with reached(desk.app, over, era, elicitation=user) as client:
                result = await client.call_tool(
                    "clerk",
                    {"task": "Ada, Bob; Cy; Di"},
                    on_progress=lambda progress: said.append(str(progress.message)),
                )
                paid = "paid Ada; The call was not approved: too much. Do not repeat it.; paid Cy; paid Di"
                assert result.text == paid
                assert desk.done == ["look", "pay Ada", "pay Cy", "pay Di"]
                assert len(desk.asked) == 5
                assert len(user.shown) == 4
                assert said.count("clerk: calls pay") == 3  # what happens after a question is told, too
                assert said[-1] == "clerk: completed"

        run(main())

    def test_who_declines_rejects(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app, mode=era, elicitation=User(Ada=DECLINE)) as client:
                result = await client.call_tool("clerk", {"task": "Ada"})
                assert result.text == "The call was not approved: The user declined. Do not repeat it."
                assert desk.done == ["look"]

        run(main())

    def test_who_dismisses_the_form_has_decided_nothing(self, era: str) -> None:
        async def main() -> None:
            desk, user = Desk(), User(Bob=DISMISS)
            async with Client(desk.app, mode=era, elicitation=user) as client:
                result = await client.call_tool("clerk", {"task": "Ada, Bob"})
                assert result.is_error is True
                assert result.meta["dev.taut/run"]["status"] == "suspended"  # type: ignore[index]
                assert "Nobody has decided: the questions were dismissed" in result.text
                assert desk.done == ALL_PAID
                assert len(user.shown) == 2  # Bob is not asked for again
                left = await info(client, "run_resume", run_id=run_of(result), reject="all", reason="late")
                ended = await info(client, "run_status", run_id=left["run_id"], wait_s=10)
                assert ended["output"] == "paid Ada; The call was not approved: late. Do not repeat it."
                assert desk.done == ALL_PAID

        run(main())

    @pytest.mark.parametrize("content", [{"approve": "perhaps"}, {}, None])
    def test_what_does_not_fit_the_form_decides_nothing(self, era: str, content: Any) -> None:
        async def main() -> None:
            desk = Desk()
            given = {} if content is None else {"content": content}
            user = User(Ada=ElicitResult(action="accept", **given))
            async with Client(desk.app, mode=era, elicitation=user) as client:
                with pytest.raises(InvalidParams, match="approve: expected"):
                    await client.call_tool("clerk", {"task": "Ada"})
                (listed,) = (await info(client, "run_list"))["runs"]
                assert listed["status"] == "suspended"
                assert desk.done == ["look"]

        run(main())

    def test_long_arguments_are_cut(self) -> None:
        async def main() -> None:
            user = User()
            async with Client(Desk().app, elicitation=user) as client:
                await client.call_tool("clerk", {"task": "A" * 5_000})
            (shown,) = user.shown
            assert len(shown) < 2_200
            assert shown.endswith("characters]")

        run(main())


class TestNotAsked:
    def test_without_forms_the_run_waits_and_says_how_to_go_on(self, era: str, over: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with reached(desk.app, over, era) as client:
                result = await client.call_tool("clerk", {"task": "Ada, Bob"})
                assert result.is_error is True
                waiting = await info(client, "run_status", run_id=run_of(result))
                assert waiting["status"] == "suspended"
                first, second = waiting["approvals"]
                assert first["id"] != second["id"]
                assert (first["tool"], first["name"], first["path"]) == ("function:pay", "pay", "clerk")
                assert (first["arguments"], second["arguments"]) == ({"to": "Ada"}, {"to": "Bob"})
                for text in ("run_resume", run_of(result), first["id"], '{"to":"Bob"}', "elicitation"):
                    assert text in result.text
                again = await info(
                    client,
                    "run_resume",
                    run_id=run_of(result),
                    approve=[first["id"]],
                    reject=second["id"],
                    reason="no",
                    arguments={"to": "Eve"},
                )
                assert again["status"] == "running"
                ended = await info(client, "run_status", run_id=run_of(result), wait_s=10)
                assert ended["output"] == "paid Eve; The call was not approved: no. Do not repeat it."
                assert desk.done == ["look", "pay Eve"]
                assert len(desk.asked) == 3

        run(main())

    def test_a_client_that_fails_to_ask_is_told_so(self) -> None:
        def broken(params: models.ElicitParams) -> ElicitResult:
            raise TautError("no screen")

        async def main() -> None:
            desk = Desk()
            async with Client(desk.app, mode=LEGACY, elicitation=broken) as client:
                result = await client.call_tool("clerk", {"task": "Ada"})
                assert result.is_error is True
                assert "To go on, call run_resume" in result.text

        run(main())


class TestTasks:
    """Clients that can follow tasks get one: it waits where it stands, in both eras."""

    def test_a_task_asks_and_goes_on(self, era: str, over: str) -> None:
        async def main() -> None:
            desk, user = Desk(), User(Bob=NO)
            async with reached(desk.app, over, era, elicitation=user) as client:
                task = await client.start_tool("clerk", {"task": "Ada; Bob"})
                assert task.id is not None
                result = await task.result()
                assert result.text == "paid Ada; The call was not approved: too much. Do not repeat it."
                assert desk.done == ALL_PAID
                assert len(desk.asked) == 4

        run(main())

    def test_a_client_that_follows_tasks_calls_as_usual(self, over: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with reached(desk.app, over, MODERN, elicitation=approve, tasks=True) as client:
                assert (await client.call_tool("clerk", {"task": "Ada"})).text == "paid Ada"
                assert desk.done == ALL_PAID

        run(main())

    def test_its_status_says_what_happens(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app, mode=era) as client:
                task = await client.start_tool("thinker", {"task": "tea"})
                await desk.thinking("tea")
                said = (await task.look()).status_message
                while said is msgspec.UNSET or said != "thinker: step 1":
                    said = (await task.look()).status_message
                desk.gate.set()
                assert (await task.result()).text == "thought about tea"

        run(main())

    def test_a_task_of_a_client_without_forms_ends_with_the_way_to_go_on(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app, mode=era) as client:
                task = await client.start_tool("clerk", {"task": "Ada"})
                result = await task.result()
                assert result.is_error is True
                assert "run_resume" in result.text

        run(main())


class Rounds:
    """A modern client that plays the rounds by hand."""

    def __init__(self, client: Client, task: str = "Ada") -> None:
        self._client = client
        self.params = models.CallToolParams(name="clerk", arguments={"task": task})

    async def send(self, asked: Any = None, **answers: Any) -> Any:
        given = self.params
        if asked is not None:
            given = msgspec.structs.replace(
                given, input_responses=answers or msgspec.UNSET, request_state=asked.request_state
            )
        return await self._client.request("tools/call", given)

    @staticmethod
    def key(asked: Any) -> str:
        assert isinstance(asked, models.InputRequiredResult)
        (key,) = asked.input_requests
        return str(key)


def modern(test: Callable[[Client, Desk], Any], **options: Any) -> None:
    async def main() -> None:
        desk = Desk(**options)
        async with Client(desk.app, mode=MODERN, elicitation=approve) as client:
            await test(client, desk)

    run(main())


class TestRounds:
    """The modern era: the question ends the call, and the run is kept until the client comes back."""

    def test_nothing_runs_between_the_rounds(self) -> None:
        async def test(client: Client, desk: Desk) -> None:
            rounds = Rounds(client)
            asked = await rounds.send()
            (listed,) = (await info(client, "run_list"))["runs"]
            assert listed["status"] == "suspended"
            result = await rounds.send(asked, **{rounds.key(asked): YES})
            assert result.content[0].text == "paid Ada"
            assert desk.done == ALL_PAID
            assert run_of(result) == listed["run_id"]

        modern(test)

    def test_a_round_that_is_sent_twice_gets_the_same_result(self) -> None:
        async def test(client: Client, desk: Desk) -> None:
            rounds = Rounds(client)
            asked = await rounds.send()
            answers = {rounds.key(asked): YES}
            both = await asyncio.gather(rounds.send(asked, **answers), rounds.send(asked, **answers))
            later = await rounds.send(asked, **answers)
            assert [one.content[0].text for one in (*both, later)] == ["paid Ada"] * 3
            assert desk.done == ALL_PAID
            assert len(desk.runs) == 1

        modern(test)

    def test_a_decision_from_elsewhere_counts(self) -> None:
        async def test(client: Client, desk: Desk) -> None:
            rounds = Rounds(client)
            asked = await rounds.send()
            (listed,) = (await info(client, "run_list"))["runs"]
            await info(client, "run_resume", run_id=listed["run_id"], reject="all", reason="no")
            await info(client, "run_status", run_id=listed["run_id"], wait_s=10)
            result = await rounds.send(asked, **{rounds.key(asked): YES})
            assert result.content[0].text == "The call was not approved: no. Do not repeat it."
            assert desk.done == ["look"]

        modern(test)

    def test_a_round_without_its_answers_does_not_begin_anew(self) -> None:
        async def test(client: Client, desk: Desk) -> None:
            rounds = Rounds(client)
            asked = await rounds.send()
            with pytest.raises(InvalidParams, match="Expected the answers"):
                await rounds.send(asked)
            assert desk.done == ["look"]
            assert len(desk.runs) == 1

        modern(test)

    def test_a_run_that_was_forgotten_does_not_begin_anew(self) -> None:
        async def test(client: Client, desk: Desk) -> None:
            rounds = Rounds(client)
            asked = await rounds.send()
            (listed,) = (await info(client, "run_list"))["runs"]
            await info(client, "run_cancel", run_id=listed["run_id"])
            result = await rounds.send(asked, **{rounds.key(asked): YES})
            assert result.is_error is True
            assert result.content[0].text == "Cancelled by request"
            assert desk.done == ["look"]

        modern(test)

    def test_the_name_of_a_question_opens_no_other_run(self) -> None:
        async def test(client: Client, desk: Desk) -> None:
            first, second = Rounds(client, "Ada"), Rounds(client, "Bob")
            for_ada, for_bob = await first.send(), await second.send()
            # A client may name what it likes: the answer for Bob under the request for Ada.
            result = await first.send(for_ada, **{second.key(for_bob): YES})
            assert result.is_error is True
            assert result.content[0].text.startswith("No such run")
            assert desk.done == ["look", "look"]

        modern(test)

    def test_a_made_up_name_is_no_run(self) -> None:
        async def test(client: Client, desk: Desk) -> None:
            rounds = Rounds(client)
            asked = await rounds.send()
            result = await rounds.send(asked, **{"approve/../x": YES})
            assert result.content[0].text == "No such run: .."
            assert desk.done == ["look"]

        modern(test)


def test_two_who_decide_at_once_decide_once() -> None:
    """The legacy era: the call waits for the user, and somebody else decides meanwhile."""

    async def main() -> None:
        desk = Desk()
        shown, go_on = asyncio.Event(), asyncio.Event()

        async def slow(params: models.ElicitParams) -> ElicitResult:
            shown.set()
            await go_on.wait()
            return YES

        async with Client(desk.app, mode=LEGACY, elicitation=slow) as client:
            calling = asyncio.ensure_future(client.call_tool("clerk", {"task": "Ada"}))
            await shown.wait()
            (listed,) = (await info(client, "run_list"))["runs"]
            await info(client, "run_resume", run_id=listed["run_id"], reject="all", reason="no")
            await until(lambda: desk.done and len(desk.asked) == 3)
            go_on.set()
            assert (await calling).text == "The call was not approved: no. Do not repeat it."
            assert desk.done == ["look"]

    run(main())
