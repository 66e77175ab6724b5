"""What can go wrong with kept state, besides a file that does not work (`taut.errors.ConfigError`)."""

from __future__ import annotations

from typing import final

from taut.errors import TautError

__all__ = ["BlobNotFound", "Conflict", "StoreFull"]


@final
class Conflict(TautError):
    """Somebody else has changed it since the caller has read it. Read it again, and decide anew.

    ``expected`` is what the caller has seen, ``actual`` what there is: messages of a conversation, the version of a
    checkpoint.
    """

    def __init__(self, what: str, expected: int, actual: int) -> None:
        super().__init__(f"{what} was changed meanwhile: expected {expected}, got {actual}")
        self.expected = expected
        self.actual = actual


@final
class StoreFull(TautError):
    """A store takes no more of it. ``limit`` is the argument of the store that says so, ``maximum`` its value."""

    def __init__(self, what: str, limit: str, maximum: int, actual: int) -> None:
        super().__init__(f"{what} cannot be kept: {limit} is {maximum}, got {actual}")
        self.limit = limit
        self.maximum = maximum
        self.actual = actual


@final
class BlobNotFound(TautError):
    """No blob has this id: it was removed, or dropped for newer ones, or has never been."""

    def __init__(self, blob_id: str) -> None:
        super().__init__(f"Expected the id of a blob that is kept, got {blob_id!r}")
        self.blob_id = blob_id
