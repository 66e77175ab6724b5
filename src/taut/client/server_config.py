"""How to reach one server of a pool, as data: what a configuration file says under the server's name.

``msgspec.convert(table, ServerConfig)`` makes one of a TOML or JSON table; keys that it does not know are refused.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from taut import models
from taut.client.settings import HttpSettings
from taut.client.target import Target, is_url
from taut.errors import ConfigError
from taut.mcp.levels import severity

__all__ = ["ServerConfig"]

MODES = ("auto", "legacy", *models.REVISIONS)
#: Fields that are options of a `Client`, under the same name.
SAME = ("mode", "timeout_s", "connect_timeout_s", "probe_timeout_s", "log_level", "tasks")
#: Fields that are `HttpSettings`, under the same name. What is None is left to the pool's ``http``.
HTTP = ("tls", "uds", "proxy", "trust_env", "max_connections", "listen")
#: What makes sense for a child process only.
CHILD = ("args", "env", "cwd")


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One server: a ``command`` to start, or a ``url``.

    What is left at its default is as the pool's ``client_options`` say.

    :raises taut.errors.ConfigError: it can never work; names the field.
    """

    #: A program, a command line (no shell) if there are no ``args``, or a list of arguments.
    command: str | list[str] | None = None
    args: list[str] = []
    url: str | None = None
    #: Variables for the child, besides those that it inherits.
    env: dict[str, str] = {}
    #: Which of our own environment variables the child gets: all, none, or these.
    inherit_env: bool | list[str] = True
    cwd: str | None = None
    #: Sent with every request; see `HttpSettings`, also for what follows.
    headers: dict[str, str] = {}
    tls: str | None = None
    uds: str | None = None
    proxy: str | None = None
    trust_env: bool | None = None
    max_connections: int | None = None
    listen: bool | None = None
    #: ``auto``, ``legacy`` or a revision.
    mode: str = "auto"
    #: Seconds for one call, unless it says otherwise; None waits forever.
    timeout_s: float | None = 60.0
    #: Seconds for all that it takes to connect.
    connect_timeout_s: float = 30.0
    #: Seconds in which a server of unknown era must answer the first question of the modern one.
    probe_timeout_s: float = 5.0
    log_level: str | None = None
    #: Let calls be answered with tasks, and follow them.
    tasks: bool = False
    #: Whether there is no use in going on without it. The pool does not mind: this is for its user.
    required: bool = True
    #: What the server is for, in words for a model.
    description: str = ""

    def __post_init__(self) -> None:
        if (self.command is None) == (self.url is None):
            got = "neither" if self.command is None else "both"
            raise ConfigError(f"Expected a command or a url, got {got}")
        if self.command is not None and not self.command:
            raise ConfigError(f"Expected a command, got {self.command!r}")
        if self.url is not None and not re.match(r"(https?|wss?)://.", self.url, re.IGNORECASE):
            raise ConfigError(f"Expected a url of http, https, ws or wss, got {self.url!r}")
        self._check_place()
        if self.mode not in MODES:
            raise ConfigError(f"Expected mode to be one of {', '.join(MODES)}, got {self.mode!r}")
        for name in ("timeout_s", "connect_timeout_s", "probe_timeout_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"Expected a positive {name}, got {value:g}")
        if self.log_level is not None:
            severity(self.log_level)

    def _check_place(self) -> None:
        """Refuse what would be ignored."""
        if self.url is not None:
            given = [name for name in CHILD if getattr(self, name)]
            if given:
                raise ConfigError(f"Expected {', '.join(given)} with a command only, got it with a url")
        if not is_url(self.url):
            given = [name for name in ("headers", *HTTP) if getattr(self, name) not in ({}, None)]
            if given:
                raise ConfigError(f"Expected {', '.join(given)} with a url of http or https only")

    def target(self) -> Target:
        """Return what a `Client` connects to."""
        if self.url is not None:
            return self.url
        command = self.command
        assert command is not None
        if isinstance(command, str):
            if not self.args:
                return command
            program = [sys.executable, command] if command.endswith(".py") else [command]
            return [*program, *self.args]
        return [*command, *self.args]

    def options(self, common: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a `Client`: those in ``common``, overruled by what is said here."""
        options = dict(common)
        for name in SAME:
            if (value := getattr(self, name)) != getattr(DEFAULTS, name):
                options[name] = value
        if self.command is not None:
            options.update(env=self._environment(common.get("env")), cwd=self.cwd or common.get("cwd"))
        elif is_url(self.url):
            options["http"] = self._http(common.get("http") or HttpSettings())
        return options

    def _environment(self, common: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """Return the child's whole environment; None for a copy of ours."""
        if self.inherit_env is True and not self.env:
            return common
        ours = os.environ if common is None else common
        names = ours if self.inherit_env is True else self.inherit_env or ()
        return {name: ours[name] for name in names if name in ours} | self.env

    def _http(self, base: HttpSettings) -> HttpSettings:
        given = {name: value for name in HTTP if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(base, headers={**base.headers, **self.headers}, **given)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Without what may be secret: the values of headers and variables, what stands before the host of the proxy."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["env"], shown["headers"] = list(self.env), list(self.headers)
        shown["proxy"] = None if self.proxy is None else self.proxy.rpartition("@")[2]
        return list(shown.items())

    def __repr__(self) -> str:
        return f"ServerConfig({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


DEFAULTS = ServerConfig(command="any")
