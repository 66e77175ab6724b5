"""The grammar of the command line. Imports nothing of taut but the error that it raises.

Options may stand anywhere among the words of a command. What follows a lone ``--`` is the command line of a
server, untouched, and then there is no TARGET.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from taut import __version__
from taut.errors import ConfigError

__all__ = ["Options", "parse"]

TARGET = """
TARGET says what to connect to:
  https://example.com/mcp   the URL of a server
  server.py                 a Python file with a Server (server.py:app where it has several)
  package.module:app        a Server in a module
  "uvx mcp-server-time"     a command line, in quotes; no shell reads it
  ... -- COMMAND ARGS       the same without quotes, at the end of the line
"""

STATUS = """
Exit status: 0 all is well, 1 the tool failed, 2 the command line or a file is wrong, 3 the server could not be
reached or refused, 4 code of the server's author or of taut failed.
"""

AGENT = """
AGENT.toml says what the agent is: its model, instructions, servers, tools and policies. NAME.secrets.toml beside it is
merged over it, and ${NAME} in it is taken from the environment. docs/agents-toml.md describes all of it.
"""

RUN_STATUS = """
Exit status: 0 the task is done, 1 the agent ended without its output (a budget is used up, say), 2 the command line
or a file is wrong, 3 a model or server could not be reached or refused, 4 code of the agent's author or of taut failed,
5 a call waits for approval and nobody is there: with --state FILE, go on with --resume FILE.
"""

RUN_USAGE = """\
taut run [options] AGENT.toml TASK ...
       taut run [options] AGENT.toml --resume FILE [--approve ID] [--reject ID]"""

CALL_USAGE = """\
taut call [options] TARGET TOOL [name=value ...]
       taut call [options] TOOL [name=value ...] -- COMMAND ..."""

CALL_ARGUMENTS = """
Arguments of the tool:
  name=value                text where the tool takes text, otherwise JSON: n=3 tags='["a"]' on=true
  name:=JSON                JSON whatever the tool takes
  --args '{"n": 3}'         all of them as one object; - reads it from stdin
"""


class Options(argparse.Namespace):
    """What was asked for, and the defaults. Every command has the first group; the rest are for single commands."""

    command: str = ""
    debug: bool = False
    quiet: bool = False
    json: bool = False
    mode: str = "auto"
    timeout: float | None = None
    #: TARGET, and for ``call`` the tool and its arguments.
    words: Sequence[str] = ()
    #: The command line after ``--``.
    server_command: Sequence[str] = ()

    # what connects
    header: list[str] | None = None
    # serve; most are fields of taut.transport.http.options.HttpOptions, None for what is not said
    http: str | None = None
    uds: str | None = None
    uds_permissions: int | None = None
    fd: int | None = None
    path: str | None = None
    root_path: str | None = None
    allowed_hosts: list[str] | None = None
    allowed_origins: list[str] | None = None
    forwarded_allow_ips: list[str] | None = None
    sessions: bool | None = None
    websocket: bool | None = None
    sse: bool | None = None
    workers: int | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_password_file: str | None = None
    tls_client_ca: str | None = None
    max_connections: int | None = None
    keep_alive_s: float | None = None
    grace_s: float | None = None
    # call
    args: str | None = None
    save: str | None = None
    log: str | None = None
    # run, chat
    secrets: str | None = None
    model: str | None = None
    session: str | None = None
    budget_tokens: int | None = None
    budget_cost: float | None = None
    budget_time: float | None = None
    budget_calls: int | None = None
    yes: bool = False
    deny: bool = False
    # run
    events: bool = False
    schema: bool = False
    state: str | None = None
    resume: str | None = None
    approve: list[str] | None = None
    reject: list[str] | None = None
    reason: str | None = None
    # demo
    also: str | None = None
    also_call: list[str] | None = None
    time_server: str | None = None
    calls: int = 20_000


class _Parser(argparse.ArgumentParser):
    """Reports mistakes as `ConfigError`: they get one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def parse(argv: Sequence[str], options: Options) -> None:
    """Fill in ``options`` from the words of a command line. ``--help`` and ``--version`` print and exit.

    :raises taut.errors.ConfigError: the words make no command.
    """
    words = list(argv)
    if "--" in words:
        at = words.index("--")
        words, options.server_command = words[:at], words[at + 1 :]
        if not options.server_command:
            raise ConfigError("Expected the command line of a server after --, got nothing")
    if not words:
        _top().print_help(sys.stderr)
        raise ConfigError(f"Expected a command ({', '.join(_COMMANDS)}), got none")
    name = words[0]
    if name.startswith("-"):
        _top().parse_args(words)
        raise ConfigError(f"Expected a command before {name}")
    if name not in _COMMANDS:
        raise ConfigError(f"Expected a command ({', '.join(_COMMANDS)}), got {name!r}")
    options.command = name
    summary, define = _COMMANDS[name]
    parser = _Parser(
        prog=f"taut {name}",
        description=f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    define(parser)
    # Read these two before the rest can be wrong: they shape how the mistake is reported.
    options.debug = "--debug" in words
    parser.parse_intermixed_args(words[1:], options)


def _top() -> _Parser:
    width = max(map(len, _COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {summary}" for name, (summary, _) in _COMMANDS.items())
    parser = _Parser(
        prog="taut",
        usage="taut COMMAND ...",
        description=f"MCP servers, clients and agents from the command line.\n\ncommands:\n{commands}\n\n"
        "taut COMMAND --help says more about each.",
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"taut {__version__}")
    return parser


def _serve(parser: _Parser) -> None:
    parser.epilog = "A file that ends in app.run() may be served as well: that call is left out."
    parser.add_argument(
        "words", nargs=1, metavar="FILE[:OBJECT]", help="a .py file or module:object with a taut Server"
    )
    http = parser.add_argument_group("over HTTP")
    add = http.add_argument
    add("--http", metavar="HOST:PORT", help="serve over HTTP, not on stdin and stdout")
    add("--uds", metavar="PATH", help="the same, at a unix socket")
    add("--uds-permissions", type=_octal, metavar="MODE", help="who may connect to it (600)")
    add("--fd", type=int, metavar="N", help="the same, with the listening socket that is descriptor N")
    add("--path", help="path of the endpoint (/mcp)")
    add("--workers", type=int, metavar="N", help="processes that serve (1); SIGHUP replaces them one by one")
    add("--tls-cert", metavar="FILE", help="speak TLS with this certificate, in PEM format")
    add("--tls-key", metavar="FILE", help="its key, where that is not in the same file")
    add("--tls-password-file", metavar="FILE", help="the key's password is the first line of this file")
    add("--tls-client-ca", metavar="FILE", help="clients need a certificate of these authorities")
    for name, what in (
        ("host", "a name that clients may reach it by (this machine's for itself, and HOST)"),
        ("origin", "a web page that may reach it, such as https://app.example.com"),
    ):
        add(f"--allowed-{name}", dest=f"allowed_{name}s", action="append", metavar="NAME", help=what)
    add(
        "--forwarded-allow-ips",
        action="append",
        metavar="IP",
        help="a proxy whose X-Forwarded-For and X-Forwarded-Proto to believe",
    )
    add("--root-path", metavar="PATH", help="what a proxy in front takes off the path")
    add(
        "--sessions",
        action=argparse.BooleanOptionalAction,
        help="sessions for legacy clients (one worker: yes)",
    )
    add("--websocket", action="store_true", default=None, help="serve WebSockets too, at the same path")
    add("--sse", action="store_true", default=None, help="serve HTTP+SSE (2024-11-05) too, at /sse")
    add("--max-connections", type=int, metavar="N", help="open connections of one worker (10000)")
    add(
        "--keep-alive",
        dest="keep_alive_s",
        type=_seconds,
        metavar="S",
        help="idle seconds of a connection (75)",
    )
    add(
        "--grace", dest="grace_s", type=_seconds, metavar="S", help="seconds for open requests at the end (3)"
    )


def _connection_options(parser: _Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--mode", help="auto (the default), legacy, or a protocol revision such as 2025-06-18"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        help="seconds to wait for an answer; 60, and no limit at a terminal",
    )
    parser.add_argument(
        "--header",
        action="append",
        metavar="'NAME: VALUE'",
        help="send this header to a URL, such as Authorization",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="hide what the server writes to stderr")


def _listing(parser: _Parser) -> None:
    parser.epilog = TARGET + STATUS
    parser.add_argument("words", nargs="*", metavar="TARGET", help="what to connect to, see below")
    _connection_options(parser)


def _call(parser: _Parser) -> None:
    parser.usage = CALL_USAGE
    parser.epilog = CALL_ARGUMENTS + TARGET + STATUS
    parser.add_argument("words", nargs="*", metavar="TARGET TOOL name=value", help="see below")
    parser.add_argument("--args", metavar="JSON", help="the arguments as one JSON object")
    parser.add_argument("--save", metavar="DIR", help="write images, sound and files of the result to DIR")
    parser.add_argument("--log", metavar="LEVEL", help="show the server's log messages from this level up")
    _connection_options(parser)


def _agent_options(parser: _Parser) -> None:
    add = parser.add_argument
    add(
        "--model", metavar="NAME", help="ask this model, of the file or one like openai:NAME, in place of all"
    )
    add("--secrets", metavar="FILE", help="merged over AGENT.toml, in place of NAME.secrets.toml beside it")
    add(
        "--session",
        metavar="NAME",
        help="the conversation that this belongs to, where the agent has a memory",
    )
    what = "%s that it may use, in place of what the file says"
    add("--budget-tokens", type=_count, metavar="N", help=what % "tokens")
    add("--budget-cost", type=_dollars, metavar="USD", help=what % "money")
    add("--budget-time", type=_seconds, metavar="S", help=what % "seconds")
    add("--budget-calls", type=_count, metavar="N", help=what % "calls of tools")
    decide = parser.add_mutually_exclusive_group()
    decide.add_argument("--yes", action="store_true", help="approve every call that needs it")
    decide.add_argument("--deny", action="store_true", help="reject every call that needs approval")
    add(
        "-q",
        "--quiet",
        action="store_true",
        help="show neither what it does nor what servers write to stderr",
    )


def _run(parser: _Parser) -> None:
    parser.usage = RUN_USAGE
    parser.epilog = AGENT + RUN_STATUS
    add = parser.add_argument
    add(
        "words",
        nargs="*",
        metavar="AGENT.toml TASK",
        help="the agent, and its task in words; - reads it from stdin",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the result as one JSON document")
    shown.add_argument(
        "--events", action="store_true", help="print all that happens, as JSON, one event a line"
    )
    shown.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of AGENT.toml, for editors"
    )
    add("--state", metavar="FILE", help="where to keep a run that is suspended or has failed")
    add(
        "--resume", metavar="FILE", help="take up the run that is kept there; FILE is removed once it is done"
    )
    add("--approve", action="append", metavar="ID", help="approve this call, or all")
    add("--reject", action="append", metavar="ID", help="reject this call, or all")
    add("--reason", metavar="TEXT", help="what the model is told of calls that are rejected")
    _agent_options(parser)


def _chat(parser: _Parser) -> None:
    parser.epilog = (
        AGENT + "Budgets are those of one answer. ^C ends the answer, ^D the conversation; /help says more."
    )
    parser.add_argument("words", nargs=1, metavar="AGENT.toml", help="the agent")
    _agent_options(parser)


def _demo(parser: _Parser) -> None:
    parser.epilog = "Nothing is read or written outside of the processes that the demo starts."
    parser.add_argument(
        "--model", metavar="NAME", help="have agents do a job with this model, such as local or openai:NAME"
    )
    parser.add_argument("--time-server", metavar="COMMAND", help="the MCP server that tells them the time")
    parser.add_argument("--also", metavar="COMMAND", help="show this MCP server too, of any make")
    parser.add_argument(
        "--also-call", action="append", metavar="'TOOL name=value ...'", help="and call this tool of it"
    )
    parser.add_argument(
        "--calls", type=_count, metavar="N", help="calls of one throughput round (20000; 0: none)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError
    return value


def _dollars(text: str) -> float:
    return _seconds(text)


def _octal(text: str) -> int:
    return int(text, 8)


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


# What argparse calls the type in "invalid ... value".
_seconds.__name__, _count.__name__, _octal.__name__ = "seconds", "count", "mode"
_dollars.__name__ = "dollars"

_COMMANDS: dict[str, tuple[str, Callable[[_Parser], None]]] = {
    "serve": ("run the server in a Python file, on stdin and stdout or over HTTP", _serve),
    "tools": ("list the tools of a server", _listing),
    "call": ("call a tool", _call),
    "inspect": ("show what was negotiated with a server and all that it offers", _listing),
    "run": ("have an agent do a task", _run),
    "chat": ("talk to an agent", _chat),
    "demo": ("see it work: two servers, both eras, and how fast it is", _demo),
}
