"""What agents keep: conversations, checkpoints of runs, blobs; and how conversations are compacted.

Each store is a protocol, with one implementation in memory and one in an SQLite file. Files may be sealed with keys
(`taut.crypto.KeyRing`), of a password perhaps (`password_keys`), which can be changed (`reseal`). The names are loaded
when they are first used: neither sqlite3 nor cryptography comes with this package alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taut.agent.state.blobs import Blob, BlobStore, MemoryBlobStore, WhenFull
    from taut.agent.state.blobs_sqlite import SQLiteBlobStore
    from taut.agent.state.checkpoints import Checkpoint, CheckpointStore, MemoryCheckpointStore
    from taut.agent.state.checkpoints_sqlite import SQLiteCheckpointStore
    from taut.agent.state.compaction import (
        SUMMARY_INSTRUCTIONS,
        Compaction,
        estimate_tokens,
        is_summary,
        transcript,
    )
    from taut.agent.state.conversations import ConversationStore, MemoryConversationStore, SessionInfo
    from taut.agent.state.conversations_sqlite import SQLiteConversationStore
    from taut.agent.state.errors import BlobNotFound, Conflict, StoreFull
    from taut.agent.state.rotation import password_keys, reseal

__all__ = [
    "SUMMARY_INSTRUCTIONS",
    "Blob",
    "BlobNotFound",
    "BlobStore",
    "Checkpoint",
    "CheckpointStore",
    "Compaction",
    "Conflict",
    "ConversationStore",
    "MemoryBlobStore",
    "MemoryCheckpointStore",
    "MemoryConversationStore",
    "SQLiteBlobStore",
    "SQLiteCheckpointStore",
    "SQLiteConversationStore",
    "SessionInfo",
    "StoreFull",
    "WhenFull",
    "estimate_tokens",
    "is_summary",
    "password_keys",
    "reseal",
    "transcript",
]

_HOMES = {
    "SUMMARY_INSTRUCTIONS": "compaction",
    "Blob": "blobs",
    "BlobNotFound": "errors",
    "BlobStore": "blobs",
    "Checkpoint": "checkpoints",
    "CheckpointStore": "checkpoints",
    "Compaction": "compaction",
    "Conflict": "errors",
    "ConversationStore": "conversations",
    "MemoryBlobStore": "blobs",
    "MemoryCheckpointStore": "checkpoints",
    "MemoryConversationStore": "conversations",
    "SQLiteBlobStore": "blobs_sqlite",
    "SQLiteCheckpointStore": "checkpoints_sqlite",
    "SQLiteConversationStore": "conversations_sqlite",
    "SessionInfo": "conversations",
    "StoreFull": "errors",
    "WhenFull": "blobs",
    "estimate_tokens": "compaction",
    "is_summary": "compaction",
    "password_keys": "rotation",
    "reseal": "rotation",
    "transcript": "compaction",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'taut.agent.state' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"taut.agent.state.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
