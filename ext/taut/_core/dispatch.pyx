"""What waits for an answer: the table of requests in flight, and the progress of one request.

One `InFlight` per direction. Outbound requests get their id from `open`; inbound ones bring theirs to
`admit`. Keys are decoded ids, so 1 and "1" differ. An answer that comes late, twice or unasked finds nothing:
`pop` returns None.
"""

cimport cython

from types import GenericAlias

from taut.errors import InvalidMessage, LimitExceeded

__all__ = ["InFlight", "Progress"]


@cython.final
cdef class InFlight:
    """Requests of one direction that are not answered yet, at most `maximum`, oldest first."""

    __class_getitem__ = classmethod(GenericAlias)

    def __cinit__(self, Py_ssize_t maximum):
        if maximum < 1:
            raise ValueError(f"maximum must be positive, got {maximum}")
        self.maximum = maximum
        self.entries = {}

    @cython.critical_section
    def open(self, entry):
        """Remember `entry` under the next id (1, 2, ...), which is returned; LimitExceeded when full."""
        if len(self.entries) >= self.maximum:
            raise LimitExceeded("max_in_flight", self.maximum)
        self.last_id += 1
        key = self.last_id
        self.entries[key] = entry
        return key

    @cython.critical_section
    def admit(self, key, entry):
        """Remember `entry` under the peer's id; InvalidMessage when it is taken, LimitExceeded when full."""
        if key in self.entries:
            raise InvalidMessage(f"Expected an id that is not in flight, got {key!r} again")
        if len(self.entries) >= self.maximum:
            raise LimitExceeded("max_in_flight", self.maximum)
        self.entries[key] = entry

    def get(self, key):
        """Return the entry, or None."""
        return self.entries.get(key)

    def pop(self, key):
        """Forget the entry and return it, or None."""
        return self.entries.pop(key, None)

    @cython.critical_section
    def drain(self):
        """Forget all entries and return them, oldest first."""
        entries = self.entries
        self.entries = {}
        return list(entries.values())

    def __len__(self):
        return len(self.entries)

    def __contains__(self, key):
        return key in self.entries


@cython.final
cdef class Progress:
    """Lets only increasing progress through, and none after `close`: the specification asks for both."""

    @cython.critical_section
    def advance(self, double progress):
        """Return whether to send `progress`: it is greater than all before, and the request is open."""
        if self.closed or progress != progress or (self.started and not progress > self.reached):
            return False
        self.started = True
        self.reached = progress
        return True

    @cython.critical_section
    def close(self):
        """The request was answered or cancelled: nothing may follow."""
        self.closed = True
