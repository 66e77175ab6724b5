"""Servers: `Server` and what its handlers use."""

from taut.mcp.inputs import Elicit, Elicited, ElicitUrl, ListRoots, Sample
from taut.server.connection import ServerConnection
from taut.server.content import Audio, File, Image
from taut.server.context import Context
from taut.server.server import Server

__all__ = [
    "Audio",
    "Context",
    "Elicit",
    "ElicitUrl",
    "Elicited",
    "File",
    "Image",
    "ListRoots",
    "Sample",
    "Server",
    "ServerConnection",
]
