"""Models by the description in a configuration: a table of ``[models]``, or one text.

A text is what `taut.llm.open.open_model` takes (``openai:gpt-5-mini``, ``local``), or one of the models of
`taut.testing`, for trying an agent without one: ``echo``, ``echo:auto``, ``scripted:answers.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from taut.agent.config.checking import KeyProblem, converted, near
from taut.agent.config.kinds import FilePath, Table
from taut.errors import ConfigError, ModelRefused
from taut.llm.model import Model, ModelRequest, ModelSettings

__all__ = ["AnswerTable", "ModelTable", "is_description", "open_described", "open_table"]

ModelType: TypeAlias = Literal[
    "openai",
    "openai-responses",
    "anthropic",
    "ollama",
    "lmstudio",
    "vllm",
    "llamacpp",
    "deepseek",
    "gemini",
    "groq",
    "mistral",
    "openrouter",
    "xai",
    "local",
    "echo",
    "scripted",
]
TYPES: tuple[str, ...] = ModelType.__args__  # type: ignore[attr-defined]

_REMOTE = {
    "model", "base_url", "api_key", "headers", "settings", "tool_mode", "timeout_s", "attempts", "prices", "http",
}  # fmt: skip
#: The keys of a table by its type; of all other types those of OpenAI's format.
_KEYS: dict[str, set[str]] = {
    "anthropic": _REMOTE | {"max_tokens", "thinking", "cache"},
    "local": {"model", "context_tokens", "threads", "settings", "tool_mode"},
    "echo": {"mode"},
    "scripted": {"answers", "file", "cycle"},
}
_OPENAI = _REMOTE | {"thinking_member"}
#: Not of OpenAI's format alone, where ``base_url`` is all that is needed.
_NO_URL = {"local", "echo", "scripted"}


class AnswerTable(Table, frozen=True, kw_only=True):
    """A call of a tool that a scripted model makes.

    - ``call``: the tool's name.
    - ``arguments``: of the call.
    """

    call: str
    arguments: dict[str, Any] | None = None


#: What a scripted model says to one request: text, a call, or several of them in one message.
AnswerItem: TypeAlias = str | AnswerTable | list[str | AnswerTable]


class HttpTable(Table, frozen=True, kw_only=True):
    """How a provider is reached.

    - ``tls``: a file with the certificates to trust, in place of those of the system.
    - ``uds``: reach the server through this unix socket.
    - ``proxy``: the URL of a proxy.
    - ``trust_env``: take a proxy from the environment, where none is said.
    - ``max_connections``: at a time; requests beyond that wait.
    - ``connect_timeout_s``: seconds to connect.
    """

    secret: ClassVar[frozenset[str]] = frozenset({"proxy"})

    tls: FilePath | None = None
    uds: FilePath | None = None
    proxy: str | None = None
    trust_env: bool = True
    max_connections: int = 100
    connect_timeout_s: float = 10.0


class PriceTable(Table, frozen=True, kw_only=True):
    """What a million tokens cost, in US dollars.

    - ``input``, ``output``: tokens that are read and written.
    - ``cached_input``, ``cache_write``: what is read from the provider's cache, and written to it.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None


class ModelTable(Table, frozen=True, kw_only=True):
    """A model that agents name.

    - ``type``: the provider, or ``local`` for a model in this process, ``echo`` and ``scripted`` for none at all;
      without it, ``model`` says the provider as well, as in ``openai:gpt-5-mini``.
    - ``model``: what the provider calls it; for ``local`` a file in GGUF format, or nothing for the default weights.
    - ``base_url``: where the provider is, if not at its usual place: any server of OpenAI's format with type
      ``openai``.
    - ``api_key``: take it from the environment, or the file with the secrets: ``"${OPENAI_API_KEY}"``.
    - ``headers``: sent with each request.
    - ``settings``: used where an agent has none of its own.
    - ``tool_mode``: ``json_schema`` has calls of tools written as JSON, for models that know no tools.
    - ``timeout_s``: seconds for which the provider may be silent.
    - ``attempts``: how often a request is tried when the provider is busy or cannot be reached.
    - ``prices``: where they are not known, or others; budgets of money need them.
    - ``http``: how the provider is reached.
    - ``thinking_member``: where a server of OpenAI's format wants thinking back: ``reasoning_content`` for DeepSeek.
    - ``max_tokens``, ``thinking``, ``cache``: of Anthropic: the limit of an answer, how it thinks, and how long it
      remembers the beginning of a conversation.
    - ``context_tokens``, ``threads``: of a local model.
    - ``mode``: of ``echo``: ``echo`` says what was said last, ``auto`` calls each tool once.
    - ``answers``, ``file``, ``cycle``: of ``scripted``: what it says to one request after the other, here or in a JSON
      file, and whether it begins again at the end.
    """

    secret: ClassVar[frozenset[str]] = frozenset({"api_key", "headers", "base_url"})

    type: ModelType | None = None
    model: str = ""
    base_url: str | None = None
    api_key: str | None = None
    headers: dict[str, str] | None = None
    settings: ModelSettings | None = None
    tool_mode: Literal["native", "json_schema"] | None = None
    timeout_s: float | None = None
    attempts: int | None = None
    prices: PriceTable | None = None
    http: HttpTable | None = None
    thinking_member: str | None = None
    max_tokens: int | None = None
    thinking: dict[str, Any] | None = None
    cache: Literal["5m", "1h"] | None = None
    context_tokens: int | None = None
    threads: int | None = None
    mode: Literal["echo", "auto"] | None = None
    answers: list[AnswerItem] | None = None
    file: FilePath | None = None
    cycle: bool | None = None

    def __post_init__(self) -> None:
        kind = self.kind
        keys = _KEYS.get(kind, _OPENAI)
        for key in self.given():
            if key not in keys:
                owners = [name for name, others in {"openai": _OPENAI, **_KEYS}.items() if key in others]
                raise KeyProblem(
                    (key,), f"expected this key with type {' or '.join(owners)} only, got it with {kind}"
                )
        if not self.model and kind not in _NO_URL:
            raise KeyProblem(("model",), f"expected the name of a model of {kind}, got none")
        if kind == "scripted" and (self.answers is None) == (self.file is None):
            raise ConfigError(f"expected answers or a file, got {'neither' if self.file is None else 'both'}")
        if self.attempts is not None and self.attempts < 1:
            raise KeyProblem(("attempts",), f"expected at least 1, got {self.attempts}")

    @property
    def kind(self) -> str:
        """The type, or the one that ``model`` begins with."""
        if self.type is not None:
            return self.type
        kind = self.model.partition(":")[0]
        if kind in ("http", "https"):
            return "openai"
        if kind not in TYPES:
            raise KeyProblem(
                ("model",) if self.model else ("type",),
                f"expected a type, or a model like openai:NAME, got {self.model or 'neither'}{near(kind, TYPES)}",
            )
        return kind

    def given(self) -> dict[str, Any]:
        """Return what is said besides the type."""
        return {
            name: value
            for name in self.__struct_fields__
            if name != "type" and (value := getattr(self, name)) not in (None, "")
        }


def is_description(text: str) -> bool:
    """Whether ``text`` describes a model, and is no name of one."""
    return ":" in text or text in _NO_URL


def open_described(text: str, directory: Path, **options: Any) -> Model:
    """Return the model that a text describes; a file in it is relative to ``directory``.

    :raises taut.errors.ConfigError: there is no such model, or it cannot be made.
    """
    kind, _, rest = text.partition(":")
    if kind in ("echo", "scripted"):
        table = {"mode" if kind == "echo" else "file": rest}
        said = {"type": kind, **{key: one for key, one in table.items() if one}}
        return open_table(converted(said, ModelTable), directory)
    if kind == "local" and rest:
        text = f"local:{directory / rest}"
    from taut.llm.open import open_model

    return open_model(text, **options)


def open_table(table: ModelTable, directory: Path) -> Model:
    """Return the model of a table; files in it are relative to ``directory``.

    :raises taut.errors.ConfigError: it cannot be made of what the table says.
    """
    options = table.given()
    if table.kind == "echo":
        from taut.testing.echo import EchoModel

        echo: Model = EchoModel(**options)
        return echo
    if table.kind == "scripted":
        return _scripted(table, directory)
    model = options.pop("model", "")
    attempts, prices = options.pop("attempts", None), options.pop("prices", None)
    if attempts is not None:
        from taut.steps import Retry

        options["retry"] = Retry(attempts=attempts)
    if prices is not None:
        from taut.llm.prices import Prices

        options["prices"] = Prices.from_table({"*": msgspec.to_builtins(prices)})
    if "http" in options:
        from taut.llm.http import HttpOptions

        http = msgspec.structs.asdict(options["http"])
        places = {key: str(directory / http[key]) for key in ("tls", "uds") if http[key] is not None}
        options["http"] = HttpOptions(**{**http, **places})
    named = table.type is None or model.startswith(("http:", "https:"))
    text = model if named else f"{table.type}:{model}" if model else str(table.type)
    return open_described(text, directory, **options)


def _scripted(table: ModelTable, directory: Path) -> Model:
    answers = table.answers if table.file is None else _answers_in(directory / table.file)
    script = [_answer(one) for one in answers or ()]
    asked = _Script(script, cycle=bool(table.cycle))
    from taut.testing.function_model import FunctionModel

    return FunctionModel(asked, name="scripted")


def _answers_in(path: Path) -> list[AnswerItem]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[AnswerItem])
    except OSError as error:
        raise ConfigError(f"cannot read the answers in {path}: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(
            f'expected answers in {path}, such as ["text", {{"call": "tool", "arguments": {{}}}}], got something '
            f"else: {error}"
        ) from None


class _Script:
    """Says one answer after the other. A conversation that was begun elsewhere, by a process that has ended, goes on
    where it was.
    """

    def __init__(self, answers: Sequence[Any], *, cycle: bool) -> None:
        self._answers = answers
        self._cycle = cycle
        self._asked = 0

    def __call__(self, request: ModelRequest) -> Any:
        said = sum(message.role == "assistant" for message in request.messages)
        at = max(self._asked, said)
        self._asked = at + 1
        if self._cycle and self._answers:
            at %= len(self._answers)
        if at >= len(self._answers):
            raise ModelRefused(
                f"The script is over: expected at most {len(self._answers)} requests, got one more"
            )
        return self._answers[at]


def _answer(item: AnswerItem) -> Any:
    if isinstance(item, list):
        return [_answer(one) for one in item]
    if isinstance(item, str):
        return item
    from taut.testing.answers import call

    return call(item.call, **(item.arguments or {}))
