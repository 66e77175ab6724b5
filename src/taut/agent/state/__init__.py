"""What agents keep: conversations, checkpoints of runs, blobs; and how conversations are compacted.

Each store is a protocol, with one implementation in memory and one in an SQLite file. Files may be sealed with keys
(`taut.crypto.KeyRing`), of a password perhaps (`password_keys`), which can be changed (`reseal`). The names are loaded
when they are first used: neither sqlite3 nor cryptography comes with this package alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut._lazy import lazily

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
    "SUMMARY_INSTRUCTIONS": "taut.agent.state.compaction",
    "Blob": "taut.agent.state.blobs",
    "BlobNotFound": "taut.agent.state.errors",
    "BlobStore": "taut.agent.state.blobs",
    "Checkpoint": "taut.agent.state.checkpoints",
    "CheckpointStore": "taut.agent.state.checkpoints",
    "Compaction": "taut.agent.state.compaction",
    "Conflict": "taut.agent.state.errors",
    "ConversationStore": "taut.agent.state.conversations",
    "MemoryBlobStore": "taut.agent.state.blobs",
    "MemoryCheckpointStore": "taut.agent.state.checkpoints",
    "MemoryConversationStore": "taut.agent.state.conversations",
    "SQLiteBlobStore": "taut.agent.state.blobs_sqlite",
    "SQLiteCheckpointStore": "taut.agent.state.checkpoints_sqlite",
    "SQLiteConversationStore": "taut.agent.state.conversations_sqlite",
    "SessionInfo": "taut.agent.state.conversations",
    "StoreFull": "taut.agent.state.errors",
    "WhenFull": "taut.agent.state.blobs",
    "estimate_tokens": "taut.agent.state.compaction",
    "is_summary": "taut.agent.state.compaction",
    "password_keys": "taut.agent.state.rotation",
    "reseal": "taut.agent.state.rotation",
    "transcript": "taut.agent.state.compaction",
}

__getattr__, __dir__ = lazily(__name__, _HOMES, globals())
