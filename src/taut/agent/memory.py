"""The conversation of a run: what was said in its session before, what becomes too long, what is kept of it.

What a store or a model is asked for is a step; what is decided here depends on nothing but what steps returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from msgspec import Struct

from taut.llm.messages import Message, Usage, user
from taut.llm.model import Model, ModelRequest, ModelSettings

if TYPE_CHECKING:
    from taut.agent.run import Run
    from taut.agent.state.compaction import Compaction
    from taut.agent.state.conversations import ConversationStore

__all__ = ["Memory"]


class Recalled(Struct, frozen=True):
    """A conversation, and what it has cost to make it shorter."""

    messages: list[Message]
    usage: Usage = Usage()


@final
class Memory:
    """The memory of one agent. Without a ``store`` nothing is kept, without ``compaction`` nothing is made shorter."""

    def __init__(
        self, store: ConversationStore | None, compaction: Compaction | None, settings: ModelSettings
    ) -> None:
        self._store = store
        self._compaction = compaction
        self._settings = settings

    async def begin(self, run: Run[Any], model: Model) -> tuple[list[Message], int]:
        """Return the conversation so far, with the task at its end, and how much of it was in the store."""
        conversation = list(run.history)
        recalled_count = 0
        if self._store is not None and run.session is not None:
            recalled = await run.steps.step("recall", self._recall, run, model, returns=Recalled)
            run.meter.charge(recalled.usage)
            recalled_count = len(recalled.messages)
            conversation = recalled.messages + conversation
        run.say(user(run.task), conversation)
        return conversation, recalled_count

    async def shorten(self, run: Run[Any], model: Model, conversation: list[Message], tokens: int) -> None:
        """Compact the conversation in place, if it has become too long for the next request.

        ``tokens`` is what the model has counted: the messages before its answer and the results of its calls.
        """
        if self._compaction is None:
            return
        counted = len(conversation) - 2
        if self._compaction.plan(conversation, tokens=tokens, counted=counted) is None:
            return
        shorter = await run.steps.step(
            "compact", self._compact, run, model, conversation, tokens, counted, returns=Recalled
        )
        run.meter.charge(shorter.usage)
        conversation[:] = shorter.messages

    async def end(self, run: Run[Any], recalled: int) -> None:
        """Keep what was said, once."""
        if self._store is not None and run.session is not None:
            await run.steps.step("remember", self.remember, run.session, run.messages, recalled, returns=bool)

    async def remember(self, key: str, session: str, messages: Sequence[Message], recalled: int) -> bool:
        """Add to a session that had ``recalled`` messages. Twice, by a step that is done again, is once."""
        assert self._store is not None
        from taut.agent.state.errors import Conflict  # with the store itself

        try:
            await self._store.append(session, messages, expected=recalled)
        except Conflict:
            # Either this step is done again after a crash, or others have talked in this session meanwhile.
            known = await self._store.load(session)
            if known[recalled : recalled + len(messages)] != list(messages):
                await self._store.append(session, messages, expected=None)
        return True

    async def _recall(self, key: str, run: Run[Any], model: Model) -> Recalled:
        assert self._store is not None
        assert run.session is not None
        known = await self._store.load(run.session)
        if self._compaction is None:
            return Recalled(known)
        from taut.agent.state.errors import Conflict  # with the store itself

        shorter = await self._compact(key, run, model, known)
        if shorter.messages != known:
            try:
                await self._store.replace(run.session, shorter.messages, expected=len(known))
            except Conflict:
                # Others have talked in this session meanwhile. It is compacted when it is recalled next.
                run.note("not compacted", f"the session {run.session} has gone on meanwhile")
        return shorter

    async def _compact(
        self,
        key: str,
        run: Run[Any],
        model: Model,
        messages: Sequence[Message],
        tokens: int | None = None,
        counted: int | None = None,
    ) -> Recalled:
        """Return the messages as they are to go on."""
        assert self._compaction is not None
        used = Usage()

        async def summarise(older: Sequence[Message]) -> str:
            nonlocal used
            from taut.agent.state.compaction import SUMMARY_INSTRUCTIONS, transcript  # most runs are short

            run.meter.check()
            request = ModelRequest(
                messages=[user(transcript(older))], instructions=SUMMARY_INSTRUCTIONS, settings=self._settings
            )
            response = await model.respond(request)
            used = response.usage
            return response.message.text

        shorter = await self._compaction.compact(messages, summarise, tokens=tokens, counted=counted)
        return Recalled(shorter, used)
