"""Models: one protocol, several clients."""
