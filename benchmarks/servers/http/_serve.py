"""What the Python servers of the HTTP benchmark share: the command line, and uvicorn at its fastest.

    SERVER PORT SCENARIO [VARIANT]

Standard library and uvicorn only: it runs in the environments of all peers.
"""

import sys
from typing import Any

PORT = int(sys.argv[1])
SCENARIO = sys.argv[2]
VARIANT = sys.argv[3] if len(sys.argv) > 3 else ""


def serve(app: Any) -> None:
    """Serve an ASGI application on uvloop and httptools, without logs."""
    import uvicorn

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=PORT,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_level="error",
        access_log=False,
        timeout_keep_alive=75,
    )
