"""Votes: who wins, when it is certain, and what failures, ties and discarded answers do."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.patterns.cases import Kit, js, said, voting
from agent.worlds import run, until
from taut.agent import Agent, RunState
from taut.agent import events as ev
from taut.agent.patterns import Vote, Voting
from taut.agent.patterns.pattern import Pattern, part
from taut.agent.patterns.voting import Ballot, normalised
from taut.errors import AgentError, ConfigError, ModelUnavailable
from taut.testing import ScriptedModel

votes = st.lists(st.sampled_from("abc"), max_size=12)


def ballot_of(keys: list[str]) -> Ballot:
    ballot = Ballot()
    for number, key in enumerate(keys):
        ballot.add(number, key)
    return ballot


class TestBallot:
    @given(votes)
    def test_the_most_are_first_and_of_equals_the_earliest(self, keys: list[str]) -> None:
        ballot = ballot_of(keys)
        assert dict(ballot.ranked) == Counter(keys)
        assert ballot.ranked == sorted(ballot.ranked, key=lambda one: (-one[1], keys.index(one[0])))
        counts = [*sorted(Counter(keys).values(), reverse=True), 0, 0]
        assert ballot.lead == counts[0] - counts[1]

    @given(votes, st.permutations(range(12)))
    def test_the_order_in_which_votes_come_does_not_matter(self, keys: list[str], order: list[int]) -> None:
        ballot = Ballot()
        for number in order:
            if number < len(keys):
                ballot.add(number, keys[number])
        assert ballot.ranked == ballot_of(keys).ranked


def voter(name: str, answer: Any, **options: Any) -> Agent[Any]:
    return Agent(name, model=ScriptedModel(answer), **options)


def at_once(keys: list[str | None], **options: Any) -> Any:
    """The result of a vote; None is a voter that fails."""
    answers = [ModelUnavailable("away") if key is None else key for key in keys]
    voters = [voter(f"v{number}", answer) for number, answer in enumerate(answers)]
    return run(Voting("vote", voters, **options).run("?"))


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=7), st.data())
def test_the_winner_is_who_has_most_votes(keys: list[str | None], data: st.DataObject) -> None:
    quorum = data.draw(st.integers(1, len(keys)))
    cast = [key for key in keys if key is not None]
    counts = Counter(cast).most_common()
    if len(cast) < quorum:
        with pytest.raises(AgentError, match=f"vote: expected at least {quorum} votes, got "):
            at_once(keys, quorum=quorum)
    elif len(counts) > 1 and counts[0][1] == counts[1][1]:
        with pytest.raises(AgentError, match="vote: expected an answer that wins the vote, got "):
            at_once(keys, quorum=quorum)
        first = max(cast, key=lambda key: (cast.count(key), -cast.index(key)))
        assert at_once(keys, quorum=quorum, tie="first").output == first
    else:
        assert at_once(keys, quorum=quorum).output == counts[0][0]


class Stream:
    """Gives the votes of a list, one for each run of its agent; None fails. Counts them."""

    def __init__(self, keys: list[str | None]) -> None:
        self.keys, self.taken = keys, 0

    def __call__(self, request: Any) -> Any:
        key = self.keys[self.taken]
        self.taken += 1
        return ModelUnavailable("away") if key is None else key


def one_by_one(keys: list[str | None], ahead: int) -> tuple[str | None, int]:
    """First to ahead by k, as it is defined: one vote after another."""
    counts: Counter[str] = Counter()
    for number, key in enumerate(keys, 1):
        if key is not None:
            counts[key] += 1
        top = [count for _, count in counts.most_common(2)] + [0, 0]
        if top[0] - top[1] >= ahead:
            return counts.most_common(1)[0][0], number
    return None, len(keys)


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=16), st.integers(1, 4))
def test_first_to_ahead_by_k_asks_no_more_than_one_vote_after_another_would(
    keys: list[str | None], ahead: int
) -> None:
    ahead = min(ahead, len(keys))
    stream = Stream(keys)
    agent = Voting(
        "vote", Agent("voter", model=ScriptedModel(*[stream] * len(keys))), ahead=ahead, n=len(keys)
    )
    winner, asked = one_by_one(keys, ahead)
    if winner is None:
        with pytest.raises(AgentError):
            run(agent.run("?"))
    else:
        assert run(agent.run("?")).output == winner
    assert stream.taken == asked


def test_voters_are_asked_in_turn() -> None:
    kit = Kit()
    agents = [kit.agent("a", "yes"), kit.agent("b", "no"), kit.agent("c", "yes")]
    assert run(Voting("vote", agents, ahead=2).run("?")).output == "yes"
    assert dict(kit.by_name) == {"a": 2, "b": 1, "c": 1}


def test_who_cannot_change_it_is_not_waited_for() -> None:
    async def work() -> None:
        kit = Kit("wait", {"bob": ""})
        assert (await voting(kit).run("?")).output == "Red."
        assert (kit.waiting, kit.cancelled) == (1, 1)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        kit = Kit("wait", {"bob": ""})
        running = asyncio.create_task(voting(kit, quorum=3).run("?"))
        await until(lambda: kit.by_name["eve"])
        for _ in range(50):  # whatever else goes on, ends
            await asyncio.sleep(0)
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])

    run(work())


def test_a_vote_that_cannot_reach_its_quorum_is_given_up() -> None:
    class Down(Kit):
        async def _answer(self, name: str, reply: Any, request: Any) -> Any:
            if name in ("ada", "bob"):
                raise ModelUnavailable("away")
            return await super()._answer(name, reply, request)

    kit = Down("wait", {"eve": ""})
    with pytest.raises(AgentError, match="expected at least 2 votes, got 0: ada: away; bob: away"):
        run(voting(kit).run("?"))
    assert kit.cancelled == 1
    kit = Down("act", {"eve": ""})
    with pytest.raises(AgentError) as caught:
        run(voting(kit).run("?"))
    assert caught.value.result.state.approvals == []


def test_votes_may_be_limited_at_a_time() -> None:
    kit = Kit()
    agents = [kit.agent(name, "yes") for name in "abcde"]
    assert run(Voting("vote", agents, limit=1).run("?")).output == "yes"
    assert kit.total == 3  # then it is certain


class Twice(Pattern[Any]):
    """Votes, then waits for something else."""

    def __init__(self, kit: Kit) -> None:
        super().__init__("twice")
        self.vote, self.waiter = voting(kit), kit.agent("waiter", "over")

    def members(self) -> Any:
        return [self.vote, self.waiter]

    async def flow(self, run: Any) -> Any:
        await part(run, self.vote, "?", "vote")
        return (await part(run, self.waiter, "w", "wait")).output


def test_a_question_that_nobody_needs_answered_is_withdrawn() -> None:
    kit = Kit("act", {"bob": "", "waiter": ""})
    heard: list[ev.Event] = []
    result = run(Twice(kit).run("?", listener=heard.append))
    assert [request.path for request in result.state.approvals] == ["twice/waiter"]
    assert list(result.state.journal.waiting) == [request.id for request in result.state.approvals]
    assert [event.text for event in heard if isinstance(event, ev.Noted) and "withdrawn" in event.topic]
    state = RunState.from_bytes(result.state.to_bytes())
    state.approve()
    result = run(Twice(kit).resume(state))
    assert (result.output, kit.acts, kit.repeated) == ("over", ["waiter: w"], [])


def test_an_undecided_vote_waits_for_who_may_decide_it() -> None:
    kit = Kit("act", {"eve": ""})
    result = run(voting(kit).run("?"))
    assert (result.status, dict(kit.by_name)) == ("suspended", {"ada": 1, "bob": 1, "eve": 1})


def test_one_agent_may_vote_several_times() -> None:
    kit = Kit()
    numbers = iter([1, 2, 2, 1, 2])
    agent = kit.agent("counter", lambda request: js({"result": next(numbers)}), output=int)
    assert run(Voting("vote", agent, n=5).run("?")).output == 2
    assert kit.total == 5


class Answer(msgspec.Struct, frozen=True):
    city: str
    people: int


def test_answers_of_a_type_are_equal_by_their_values() -> None:
    kit = Kit()
    texts = ['{"people": 3, "city": "Ulm"}', '{"city":"Ulm","people":3}', '{"city":"Ulm","people":4}']
    agents = [kit.agent(f"v{n}", text, output=Answer) for n, text in enumerate(texts)]
    agent = Voting("vote", agents)
    assert (run(agent.run("?")).output, agent.output_type) == (Answer("Ulm", 3), Answer)


@pytest.mark.parametrize(
    ("output", "key"),
    [
        ("  Yes.\n", "yes"),
        ("“Yes”", "yes"),
        ("the  CAT", "the cat"),
        ("...", "..."),
        ("-5", "-5"),
        ("C++", "c++"),
        (7, "7"),
    ],
)
def test_what_counts_as_the_same(output: Any, key: str) -> None:
    assert normalised(output) == key


def test_answers_may_be_discarded() -> None:
    def short(output: str) -> str | None:
        return output if len(output) < 4 else None

    result = at_once(["yes", "a long answer", "yes"], normalise=short)
    assert result.output == "yes"
    with pytest.raises(AgentError, match="expected at least 2 votes, got 1: v1: its answer was discarded"):
        at_once(["yes", "a long answer", "another one"], normalise=short)


def test_a_function_may_choose() -> None:
    seen: list[Vote] = []

    async def longest(votes: list[Vote]) -> str:
        seen.extend(votes)
        return max((vote.output for vote in votes), key=len)

    assert at_once(["a", "abc", None, "ab", "a"], choose=longest).output == "abc"
    assert [vote.voter for vote in seen] == ["v0", "v1", "v3", "v4"]
    assert seen[0] == Vote("v0", "a", "a")


def test_a_tie_may_be_decided_by_an_agent() -> None:
    kit = Kit()
    judge = kit.agent("judge", lambda request: said(request).partition("Decide.\n\n")[2])
    assert at_once(["a", "b", "B"], tie=judge).output == "b"
    assert at_once(["b", "a", "c"], tie=judge).output == (
        "## 1 of 3 votes\nb\n\n## 1 of 3 votes\na\n\n## 1 of 3 votes\nc"
    )


def test_the_count_is_noted() -> None:
    heard: list[ev.Event] = []
    run(voting(Kit()).run("?", listener=heard.append))
    notes = [event for event in heard if isinstance(event, ev.Noted)]
    assert notes == [
        ev.Noted("voting", "votes", "2 x 'red', 1 x 'blue'; 0 failed", [("red", 2), ("blue", 1)])
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"voters": []}, "at least one agent as voters"),
        ({"n": 3}, "a vote of each of the 2 voters, got n=3"),
        ({"quorum": 3}, "a quorum of 1 to 2"),
        ({"limit": 0}, "a limit of at least 1, got None and 0"),
        ({"choose": "best"}, "choose 'majority' or a function, got 'best'"),
        ({"ahead": 0}, "an `ahead` of 1 to 25"),
        ({"ahead": 2, "quorum": 2}, "with neither a quorum nor a function, got 2"),
        ({"tie": "last"}, "tie 'fail', 'first' or an agent, got 'last'"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Voting("vote", **{"voters": [voter("a", "x"), voter("b", "x")], **options})
