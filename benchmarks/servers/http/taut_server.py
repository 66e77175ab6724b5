"""The HTTP benchmark's server on taut: by its own driver, or as the application of another server.

Variants: ``native`` (what ``run("http")`` does), ``uvicorn``, ``hypercorn``, ``granian``.
"""

from collections.abc import Callable
from typing import Any

from _serve import PORT, SCENARIO, VARIANT, serve

from taut import Context, Server, SessionOptions

app = Server("bench", version="1.0")


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool
async def report(a: int, b: int, ctx: Context) -> int:
    """Report progress once, then add two numbers."""
    await ctx.progress(1, 2)
    return a + b


@app.tool
def spin(rounds: int) -> int:
    """Compute for a while."""
    total = 0
    for number in range(rounds):
        total = (total * 31 + number) % 1_000_003
    return total


# More of them than a careful server keeps: some are measured by the ten thousand.
SESSIONS = SessionOptions(max_sessions=50_000) if SCENARIO == "session" else False
WORKERS = 2 if SCENARIO == "two workers" else 1


def application() -> Any:
    return app.asgi(sessions=SESSIONS)


def run_hypercorn() -> None:
    import uvloop
    from hypercorn.asyncio import serve as hypercorn
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.accesslog = config.errorlog = None
    uvloop.run(hypercorn(application(), config))


def run_granian() -> None:
    from granian import Granian
    from granian.constants import Interfaces, Loops

    # It imports this module again, in the process of its worker.
    Granian(
        "taut_server:application",
        factory=True,
        port=PORT,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        websockets=False,
        log_enabled=False,
    ).serve()


def run_native() -> None:
    app.run("http", port=PORT, workers=WORKERS, sessions=SESSIONS)


RUN: dict[str, Callable[[], None]] = {
    "native": run_native,
    "uvicorn": lambda: serve(application()),
    "hypercorn": run_hypercorn,
    "granian": run_granian,
}

if __name__ == "__main__":
    RUN[VARIANT]()
