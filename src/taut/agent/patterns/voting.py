"""`Voting`: several answer the same task, and the answer that most of them give is taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, Unpack, final

import msgspec
from msgspec import Struct

from taut.agent.base import BaseAgent
from taut.agent.patterns.kinds import one_of, text_of
from taut.agent.patterns.pattern import (
    Options,
    Pattern,
    apply,
    branch,
    checked,
    part,
    with_others,
)
from taut.agent.patterns.side_by_side import SideBySide
from taut.agent.result import RunResult
from taut.agent.run import Failure, Run
from taut.errors import AgentError, ConfigError

__all__ = ["Ballot", "Tie", "Vote", "Voting", "normalised"]

#: How many votes there are, if nothing else says it; and at most, until one answer is ahead.
VOTES = 3
MAX_VOTES = 25
#: What an answer may have around it and at its end without being another one.
QUOTES = "\"'`*\u201c\u201d\u2018\u2019\u00ab\u00bb "
STOPS = ".,;:!? "
JUDGE = """\
Several have answered this task, and no answer has won the vote.

{task}

Decide.

{answers}"""

#: What happens without a winner: the run fails, the answer that came first of the best is taken, or an agent decides.
Tie: TypeAlias = "Literal['fail', 'first'] | BaseAgent[Any]"


class Vote(Struct, frozen=True):
    """One vote: whose it is, the answer, and what it counts as: equal keys are equal answers."""

    voter: str
    output: Any
    key: str


def normalised(output: Any) -> str:
    """Return what an output counts as: text without regard to case, space, quotes around it and a stop at its end; else
    JSON. A sign counts: ``-5`` is not ``5``.
    """
    if not isinstance(output, str):
        return msgspec.json.encode(output, order="deterministic").decode()
    folded = re.sub(r"\s+", " ", output).strip().casefold()
    return folded.strip(QUOTES).rstrip(STOPS).strip(QUOTES) or folded


@final
class Ballot:
    """Votes by what they count as. Those of one number of votes are in the order of their first vote's number."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, int] = {}

    def add(self, number: int, key: str) -> None:
        """Count the vote of this number."""
        self._counts[key] = self._counts.get(key, 0) + 1
        self._first[key] = min(number, self._first.get(key, number))

    @property
    def ranked(self) -> list[tuple[str, int]]:
        """What was voted for and how often, the most first."""
        return sorted(self._counts.items(), key=lambda one: (-one[1], self._first[one[0]]))

    @property
    def lead(self) -> int:
        """How many votes the first is ahead of the second; 0 without votes."""
        counts = [count for _, count in self.ranked[:2]]
        return counts[0] - counts[1] if len(counts) == 2 else sum(counts)

    @property
    def total(self) -> int:
        """How many votes there are."""
        return sum(self._counts.values())


class Voting(Pattern[Any]):
    """Asks ``voters`` side by side, and takes the answer that most of them give.

    Once no other answer can win, votes that have not come are not waited for: their runs are cancelled. The output is
    that of the first vote for the winner.

    :param voters: agents with a vote each; or one agent, which votes ``n`` times.
    :param choose: ``majority``, or a function of all votes that returns the output, which may be async.
    :param ahead: ask on, each time as many as are lacking, until one answer is so many votes ahead of every other, or
        ``n`` have been asked ("first to ahead by k": Meyerson et al., Solving a Million-Step LLM Task with Zero Errors,
        arXiv:2511.09030). Voters are asked in turn.
    :param quorum: how many votes there must be: so many failures are tolerated. More than half of all, by default.
    :param tie: what happens if there is no winner.
    :param normalise: returns what an output counts as; None discards it, as if the voter had failed.
    :param limit: how many vote at a time.
    :raises taut.errors.ConfigError: it cannot work like this.
    """

    def __init__(
        self,
        name: str,
        voters: BaseAgent[Any] | Sequence[BaseAgent[Any]],
        *,
        n: int | None = None,
        choose: Literal["majority"] | Callable[[list[Vote]], Any] = "majority",
        ahead: int | None = None,
        quorum: int | None = None,
        tie: Tie = "fail",
        normalise: Callable[[Any], str | None] = normalised,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        given = [voters] if isinstance(voters, BaseAgent) else voters
        self._voters = checked(given, "voters")
        one = len(self._voters) == 1
        self._n = n or (MAX_VOTES if ahead is not None else VOTES if one else len(self._voters))
        self._quorum = self._n // 2 + 1 if quorum is None else quorum
        if not one and ahead is None and self._n != len(self._voters):
            raise ConfigError(
                f"Expected a vote of each of the {len(self._voters)} voters, got n={n}: give one voter, or ahead"
            )
        if not 1 <= self._quorum <= self._n or (limit is not None and limit < 1):
            raise ConfigError(
                f"Expected a quorum of 1 to {self._n} and a limit of at least 1, got {quorum} and {limit}"
            )
        if choose != "majority" and not callable(choose):
            raise ConfigError(f"Expected choose 'majority' or a function, got {choose!r}")
        if ahead is not None and (not 1 <= ahead <= self._n or choose != "majority" or quorum is not None):
            raise ConfigError(
                f"Expected an `ahead` of 1 to {self._n}, with neither a quorum nor a function, got {ahead}"
            )
        if not isinstance(tie, BaseAgent) and tie not in ("fail", "first"):
            raise ConfigError(f"Expected tie 'fail', 'first' or an agent, got {tie!r}")
        self._choose = choose
        self._ahead = ahead
        self._tie = tie
        self._normalise = normalise
        self._limit = limit
        self._kind = one_of(self.members())

    @property
    def output_type(self) -> Any:
        """What one of the voters returns, or an agent that decides."""
        return self._kind

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        return [*self._voters, *([self._tie] if isinstance(self._tie, BaseAgent) else [])]

    async def flow(self, run: Run[Any]) -> Any:
        """See `Pattern`."""
        votes: dict[int, Vote] = {}
        failures: list[str] = []
        if self._ahead is None:
            decided = await self._vote_at_once(run, votes, failures)
        else:
            decided = await self._vote_until_ahead(run, votes, failures, self._ahead)
        in_order = [votes[number] for number in sorted(votes)]
        ballot = _ballot_of(votes)
        told = ", ".join(f"{count} x {key[:80]!r}" for key, count in ballot.ranked)
        run.note("votes", f"{told or 'none'}; {len(failures)} failed", ballot.ranked)
        least = self._quorum if self._ahead is None else 1
        if len(votes) < least:
            raise AgentError(
                f"{run.path}: expected at least {least} votes, got {len(votes)}: {'; '.join(failures)}"
            )
        if callable(self._choose):
            return await apply(run, "choose", self._choose, in_order, returns=self.output_type)
        if decided or self._tie == "first":
            winner = ballot.ranked[0][0]
            return next(vote.output for vote in in_order if vote.key == winner)
        if isinstance(self._tie, BaseAgent):
            return await self._judge(run, self._tie, in_order, ballot)
        raise AgentError(f"{run.path}: expected an answer that wins the vote, got {told}")

    async def _vote_at_once(self, run: Run[Any], votes: dict[int, Vote], failures: list[str]) -> bool:
        """Collect votes until one answer must win, or there are none to come. Returns whether one has won."""
        async with SideBySide[int, "Vote | str"](limit=self._limit) as going:
            for number in range(self._n):
                going.start(number, self._vote(run, number))
            while (ended := await going.next()) is not None:
                _count(votes, failures, *ended)
                if self._n - len(failures) < self._quorum:
                    run.withdraw("vote.")
                    break
                if self._choose == "majority" and self._is_certain(votes, len(failures)):
                    run.withdraw("vote.")
                    return True
            else:
                if going.suspended is not None:
                    raise going.suspended
        return False

    def _is_certain(self, votes: dict[int, Vote], failed: int) -> bool:
        outstanding = self._n - len(votes) - failed
        return len(votes) >= self._quorum and _ballot_of(votes).lead > outstanding

    async def _vote_until_ahead(
        self, run: Run[Any], votes: dict[int, Vote], failures: list[str], ahead: int
    ) -> bool:
        """Ask for as many votes as the leader lacks, again and again. Returns whether it has won.

        No fewer could decide, so it comes to the same as one vote after another, in a fraction of the time.
        """
        asked = 0
        while (lacking := ahead - _ballot_of(votes).lead) > 0 and asked < self._n:
            numbers = range(asked, min(self._n, asked + lacking))
            asked = numbers.stop
            came = await run.gather((self._vote(run, number) for number in numbers), limit=self._limit)
            for number, vote in zip(numbers, came, strict=True):
                _count(votes, failures, number, vote)
        return lacking <= 0

    async def _vote(self, run: Run[Any], number: int) -> Vote | str:
        """Return a vote, or why there is none."""
        voter = self._voters[number % len(self._voters)]
        result = await branch(run, voter, run.task, f"vote.{number}", collect=True, history=run.history)
        if isinstance(result, Failure):
            run.note("failed vote", f"{voter.name}: {result.error}", number)
            return f"{voter.name}: {result.error}"
        key = self._normalise(result.output)
        if key is None:
            run.note("discarded vote", f"{voter.name}: {result.text}", number)
            return f"{voter.name}: its answer was discarded"
        return Vote(voter.name, result.output, key)

    async def _judge(self, run: Run[Any], judge: BaseAgent[Any], votes: list[Vote], ballot: Ballot) -> Any:
        counts = dict(ballot.ranked)
        answers = {vote.key: vote for vote in reversed(votes)}
        told = "\n\n".join(
            f"## {counts[key]} of {len(votes)} votes\n{text_of(answers[key].output)}" for key in counts
        )
        task = with_others(run, JUDGE.format(task=run.text, answers=told))
        result: RunResult[Any] = await part(run, judge, task, "tie")
        return result.output


def _ballot_of(votes: dict[int, Vote]) -> Ballot:
    ballot = Ballot()
    for number, vote in votes.items():
        ballot.add(number, vote.key)
    return ballot


def _count(votes: dict[int, Vote], failures: list[str], number: int, vote: Vote | str) -> None:
    if isinstance(vote, str):
        failures.append(vote)
    else:
        votes[number] = vote
