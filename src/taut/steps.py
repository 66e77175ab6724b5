"""The interface between what an agent does and the engine that it is done by.

An agent does everything that must not happen twice, or would come out differently a second time, as a *step*: a call
of a model, of a tool, the time, a random number. An engine records what each step returned under the step's key. To
take a run up again, in another process perhaps, the same agent is run with the same input: steps that are recorded
return what they returned, and the run goes on where there is no record. Completed steps are never run again; one that
was under way when the process died is run again, with the same key, which tools receive as their idempotency key.

So code between steps must be deterministic: it may depend on its input and on what steps returned, nothing else. Keys
are made of names and of the order in which steps of one name are asked for; what runs side by side needs names that
tell it apart. A part of a run that has steps of its own is a *child*: once it has ended, its outcome is all that is
kept.

`InProcess` is the plain implementation: records are kept in memory, and can be saved as one `Journal` that another
process loads. Engines that write each step down, or hand them out to workers, have the same interface.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec

from taut.errors import ConfigError, RunSuspended, TautError

__all__ = ["InProcess", "Journal", "Retry", "Steps"]

T = TypeVar("T")


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often a step is tried. The pause doubles from ``initial_s`` to ``maximum_s``, each time between half and
    all of it.

    ``on`` are the exceptions that are worth another attempt. One with ``retry_after_s`` is heeded, up to ``maximum_s``.
    """

    attempts: int = 1
    initial_s: float = 0.5
    maximum_s: float = 30.0
    on: tuple[type[Exception], ...] = (TautError, OSError, TimeoutError)

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.initial_s < 0 or self.maximum_s < self.initial_s:
            raise ConfigError(
                "Expected at least one attempt and pauses of at least 0 s that grow, got "
                f"{self.attempts}, {self.initial_s:g} and {self.maximum_s:g}"
            )

    def pause_s(self, attempt: int, error: Exception, share: float) -> float | None:
        """Return the seconds to wait after the failure of ``attempt`` (from 1), or None if it was the last.

        ``share``, from 0 to 1, is the random part.
        """
        if attempt >= self.attempts or not isinstance(error, self.on):
            return None
        asked: float | None = getattr(error, "retry_after_s", None)
        if asked is not None:
            return asked if asked <= self.maximum_s else None
        return min(self.maximum_s, self.initial_s * 2.0 ** (attempt - 1)) * (1 + share) / 2


ONCE = Retry()


class Steps(Protocol):
    """What an agent asks an engine for: the steps of one run, or of one scope in it."""

    @property
    def run_id(self) -> str:
        """The run that these are steps of."""

    @property
    def key(self) -> str:
        """What tells this scope from all others there are."""

    async def step(
        self,
        name: str,
        fn: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        returns: Any,
        timeout_s: float | None = None,
        retry: Retry = ONCE,
        recover: Callable[[Exception], T] | None = None,
    ) -> T:
        """Return what ``await fn(key, *args)`` returns, or has returned before.

        ``key`` names the step in all runs there are. ``returns`` is the type of the result, which msgspec must be able
        to encode and decode. ``timeout_s`` is for one attempt. The failure of the last attempt is raised, and the step
        will run again when the run is taken up; with ``recover`` it is recorded what that makes of the failure.

        :raises TimeoutError: the last attempt took too long, and there is no ``recover``.
        """

    async def sleep(self, seconds: float) -> None:
        """Wait. A run that is taken up again waits for what is left of it."""

    async def wait_signal(self, name: str, *, returns: Any, timeout_s: float | None = None) -> Any:
        """Wait for a signal of this name, and return its payload; None, for good, once ``timeout_s`` is over.

        :raises taut.errors.RunSuspended: nobody in this process will send it; the run is to end, and to be taken up
            again when the signal is there.
        """

    def signal(self, name: str, payload: Any) -> None:
        """Send a signal to this run. Sent twice, the first one counts."""

    async def child(
        self,
        name: str,
        fn: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        returns: Any,
        timeout_s: float | None = None,
        retry: Retry = ONCE,
        recover: Callable[[Exception], T] | None = None,
    ) -> T:
        """Return what ``await fn(steps, *args)`` returns, or has returned before; ``steps`` are its own.

        Otherwise as `step`: while it has not ended, its own steps are what is recorded, and another attempt goes on
        from there.
        """

    def note(self, name: str, value: T, *, returns: Any) -> T:
        """Record a value that was not the result of a step, and return it, or what was recorded before."""

    def now(self) -> float:
        """The time, in seconds since the epoch, as it was when this run first asked."""

    def uuid(self) -> str:
        """A random UUID, the same whenever the run is taken up."""

    def random(self) -> float:
        """A random number from 0 to 1, the same whenever the run is taken up."""


class Journal(msgspec.Struct, kw_only=True):
    """What is known of a run: the results of its steps by key, the signals sent to it, those that it waits for.

    The results of steps that were run here are objects; those that were loaded are bytes until they are asked
    for. ``in_use``: a run goes on with it.
    """

    run_id: str
    records: dict[str, Any] = {}
    signals: dict[str, Any] = {}
    waiting: dict[str, float | None] = {}
    in_use: bool = False

    def to_bytes(self) -> bytes:
        """Return the journal as bytes."""
        return msgspec.msgpack.encode(
            _Stored(
                run_id=self.run_id,
                records={key: _packed(value) for key, value in self.records.items()},
                signals=_packed(self.signals).data,
                waiting=self.waiting,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Journal:
        """Return the journal that `to_bytes` made.

        :raises taut.errors.ConfigError: these bytes are no journal.
        """
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
        except msgspec.DecodeError as error:
            raise ConfigError(f"Expected the journal of a run, got something else: {error}") from None
        return cls(
            run_id=stored.run_id,
            records=dict(stored.records),
            signals=_Packed(stored.signals).unpack(dict[str, Any]),
            waiting=stored.waiting,
        )


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """A value as bytes: MessagePack, which has every type that msgspec has, or, behind a ``j``, JSON, which has
    integers of any size: models write such."""

    data: bytes

    def unpack(self, kind: Any) -> Any:
        """Return the value."""
        if self.data[:1] == b"j":
            return msgspec.json.decode(self.data[1:], type=kind)
        return msgspec.msgpack.decode(self.data[1:], type=kind)


def _packed(value: Any) -> _Packed:
    if isinstance(value, _Packed):
        return value
    try:
        return _Packed(b"m" + msgspec.msgpack.encode(value))
    except OverflowError:
        return _Packed(b"j" + msgspec.json.encode(value))


class _Stored(msgspec.Struct, kw_only=True):
    run_id: str
    records: dict[str, _Packed]
    signals: bytes
    waiting: dict[str, float | None]


class InProcess:
    """Steps that are run here and now, in the caller's task, and recorded in ``journal``."""

    __slots__ = ("_clock", "_counts", "_journal", "_own", "_prefix", "_random", "_unfinished")

    def __init__(
        self,
        journal: Journal,
        *,
        prefix: str = "",
        clock: Callable[[], float] = time.time,
        source: random.Random | None = None,
    ) -> None:
        self._journal = journal
        self._prefix = prefix
        self._counts: dict[str, int] = {}
        #: The keys of this scope that have been asked for.
        self._own: list[str] = []
        #: The scopes of children that have not ended, or failed: what they did is kept in case they are run again.
        self._unfinished: dict[str, InProcess] = {}
        self._clock = clock
        self._random = source or random.Random()

    @property
    def run_id(self) -> str:
        """See `Steps`."""
        return self._journal.run_id

    @property
    def key(self) -> str:
        """See `Steps`."""
        return f"{self._journal.run_id}:{self._prefix.removesuffix('/')}"

    @property
    def journal(self) -> Journal:
        """Where the steps are recorded."""
        return self._journal

    def _key(self, name: str) -> str:
        count = self._counts.get(name, 0) + 1
        self._counts[name] = count
        return f"{self._prefix}{name}#{count}"

    def _recorded(self, key: str, returns: Any) -> Any:
        """Return what is recorded under ``key``, decoded if it was loaded."""
        value = self._journal.records[key]
        if isinstance(value, _Packed):
            try:
                value = value.unpack(returns)
            except msgspec.DecodeError as error:
                raise ConfigError(
                    f"Cannot take up run {self.run_id}: expected the record of the step {key} to be of the type that "
                    f"it has now, got: {error}. Has what does the run changed since?"
                ) from None
            self._journal.records[key] = value
        self._own.append(key)
        return value

    async def step(
        self,
        name: str,
        fn: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        returns: Any,
        timeout_s: float | None = None,
        retry: Retry = ONCE,
        recover: Callable[[Exception], T] | None = None,
    ) -> T:
        """See `Steps`."""
        key = self._key(name)
        if key in self._journal.records:
            known: T = self._recorded(key, returns)
            return known
        whole = f"{self._journal.run_id}:{key}"
        try:
            if timeout_s is None and retry is ONCE:  # nearly all: not a coroutine more for them
                value = await fn(whole, *args)
            else:
                value = await self._attempts(lambda: fn(whole, *args), timeout_s, retry)
        except Exception as error:  # raised again, unless whoever asked for the step knows what it means
            value = self._recovered(error, recover)
        self._record(key, value)
        return value

    @staticmethod
    def _recovered(error: Exception, recover: Callable[[Exception], T] | None) -> T:
        """Return what is recorded of a failure; raise it where nothing is."""
        if recover is None or isinstance(error, RunSuspended):
            raise error
        return recover(error)  # whoever asked for the step knows what its failure means

    async def _attempts(
        self, attempt: Callable[[], Awaitable[T]], timeout_s: float | None, retry: Retry
    ) -> T:
        count = 1
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    return await attempt()
            except RunSuspended:
                raise
            except Exception as error:  # raised again, unless the retry names its class
                pause_s = retry.pause_s(count, error, self._random.random())
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)
            count += 1

    async def sleep(self, seconds: float) -> None:
        """See `Steps`."""
        end: float = self.note("sleep", self._clock() + seconds, returns=float)
        left = end - self._clock()
        if left > 0:
            await asyncio.sleep(left)

    async def wait_signal(self, name: str, *, returns: Any, timeout_s: float | None = None) -> Any:
        """See `Steps`."""
        journal = self._journal
        late = f"{self._prefix}{name} is late"
        if late in journal.records:
            self._own.append(late)
            return None
        if name in journal.signals:
            journal.waiting.pop(name, None)
            return msgspec.convert(journal.signals[name], returns)
        until = None if timeout_s is None else self._clock() + timeout_s
        until = journal.waiting.setdefault(name, until)
        if until is not None and until <= self._clock():
            del journal.waiting[name]
            self._record(late, True)  # should it still come, the run has gone another way
            return None
        raise RunSuspended(f"The run waits for {name}")

    def signal(self, name: str, payload: Any) -> None:
        """See `Steps`."""
        self._journal.signals.setdefault(name, msgspec.to_builtins(payload))

    async def child(
        self,
        name: str,
        fn: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        returns: Any,
        timeout_s: float | None = None,
        retry: Retry = ONCE,
        recover: Callable[[Exception], T] | None = None,
    ) -> T:
        """See `Steps`."""
        key = self._key(name)
        if key in self._journal.records:
            known: T = self._recorded(key, returns)
            return known

        def attempt() -> Awaitable[T]:
            below = InProcess(self._journal, prefix=f"{key}/", clock=self._clock, source=self._random)
            before = self._unfinished.get(key)
            if before is not None:
                below._own, below._unfinished = before._own, before._unfinished
            self._unfinished[key] = below
            return fn(below, *args)

        try:
            if timeout_s is None and retry is ONCE:
                value = await attempt()
            else:
                value = await self._attempts(attempt, timeout_s, retry)
        except Exception as error:  # raised again, unless whoever asked for the step knows what it means
            value = self._recovered(error, recover)
        self._record(key, value)
        self._unfinished.pop(key)._forget()
        return value

    def _record(self, key: str, value: Any) -> None:
        self._journal.records[key] = value
        self._own.append(key)

    def _forget(self) -> None:
        """Drop the steps of a child that has ended, with those of the children that failed in it."""
        for key in self._own:
            self._journal.records.pop(key, None)
        for below in self._unfinished.values():
            below._forget()

    def note(self, name: str, value: T, *, returns: Any) -> T:
        """See `Steps`."""
        key = self._key(name)
        if key in self._journal.records:
            known: T = self._recorded(key, returns)
            return known
        self._record(key, value)
        return value

    def now(self) -> float:
        """See `Steps`."""
        return self.note("now", self._clock(), returns=float)

    def uuid(self) -> str:
        """See `Steps`."""
        return self.note("uuid", str(uuid.uuid4()), returns=str)

    def random(self) -> float:
        """See `Steps`."""
        return self.note("random", self._random.random(), returns=float)
