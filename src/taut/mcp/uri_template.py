"""URI templates (RFC 6570) for resources: expand variables into a URI, and match a URI back into variables.

    note://{name}             one segment: anything but "/", "?" and "#"
    file:///{+path}           the rest, slashes and all
    repo://{owner}{/path*}    any number of segments, each after a slash: "" or "src/main.py"
    api://{/version}{.ext}    what the operator says: "/" or "." comes before the value
    search://{?q,lang}        query parameters: in any order, each optional, no others

These are the expressions of levels 1 to 3 that a URI can be matched against. Refused, with the position:
fragments (a server never sees them), ``{;x}``, ``{&x}``, prefixes ``{x:3}``, other explodes, and two
variables with nothing between them.

Matching is exact and takes time linear in the URI (for a given template): there is no regular expression that
backtracks. Where literals leave a choice, a variable ends at the first place that lets the whole URI match:
``{name}.{ext}`` splits "a.tar.gz" at the first dot. A variable outside the query is never empty, except
``{/x*}``.

Values come back percent-decoded, and *safe* by default: a URI does not match when decoding would smuggle
something into a value that the template did not ask for. That is: "/" or a backslash from an escape, segments
"." and "..", an empty first segment (an absolute path) or a drive ("C:/") in a value with slashes, control
characters, and escapes that are no UTF-8. Query values are free text: they may contain slashes, but no ".."
segments. ``UriTemplate(..., safe=False)`` leaves all of that to the caller.

`expand` writes what `match` reads: reserved characters are escaped except in ``{+x}``, and a percent sign
always is, so that ``match(expand(**values)) == values`` for all safe values (unless a value contains the
literal that follows it).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, final

from taut.errors import ConfigError

__all__ = ["MAX_TEMPLATE_LENGTH", "MAX_URI_LENGTH", "MAX_VARIABLES", "UriTemplate"]

MAX_TEMPLATE_LENGTH: Final = 1024
MAX_URI_LENGTH: Final = 8192  #: a longer URI matches nothing
MAX_VARIABLES: Final = 32

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_UNRESERVED = "A-Za-z0-9._~\\-"
_RESERVED = ":/?#@!$&'()*+,;=\\[\\]"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:(?:/|$)")
_SEGMENT_STOP = re.compile(r"[/?#]")
_PATH_STOP = re.compile(r"[?#]")


class _Part(NamedTuple):
    """One variable outside the query, and the literal text after it."""

    name: str
    stop: re.Pattern[str] | None  #: finds the first character that the value cannot contain
    exploded: bool  #: ``{/x*}``: the value is "", or starts with a slash that is not part of it
    many: bool  #: may contain slashes
    relative: bool  #: comes after the slash of a path (not of ``://``), so that it must not start with one
    tail: str


@final
class UriTemplate:
    """A compiled template, never changed afterwards; equal to any other of the same text and safety.

    Raises `ConfigError`, with the position, for a template that cannot be matched.

    ``variables`` are in order; those in ``optional`` may be missing from a match.
    """

    __slots__ = ("_parts", "_prefix", "_query", "optional", "safe", "template", "variables")

    def __init__(self, template: str, *, safe: bool = True) -> None:
        self._prefix, self._parts, self._query = _parse(template)
        self.template: Final = template
        self.variables: Final = (*(part.name for part in self._parts), *self._query)
        self.optional: Final = frozenset(self._query)
        self.safe: Final = safe

    def __repr__(self) -> str:
        return f"UriTemplate({self.template!r}{'' if self.safe else ', safe=False'})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UriTemplate):
            return NotImplemented
        return (self.template, self.safe) == (other.template, other.safe)

    def __hash__(self) -> int:
        return hash((self.template, self.safe))

    def match(self, uri: str) -> dict[str, str] | None:
        """Return the decoded variables of ``uri``, or None if this template does not make it."""
        if len(uri) > MAX_URI_LENGTH or not uri.startswith(self._prefix):
            return None
        path, mark, query = uri.partition("?") if self._query else (uri, "", "")
        spans = self._spans(path)
        if spans is None:
            return None
        values: dict[str, str] = {}
        for part, (start, end) in zip(self._parts, spans, strict=True):
            value = _decoded(path[start + part.exploded : end])
            if value is None or (self.safe and not _is_safe(value, path[start:end], part)):
                return None
            values[part.name] = value
        return values if not mark or self._match_query(query, values) else None

    def expand(self, /, **values: str) -> str:
        """Return the URI for ``values``; of these only the query's may be missing (else TypeError)."""
        if unknown := values.keys() - set(self.variables):
            raise TypeError(f"{self.template}: unknown variable {min(unknown)!r}")
        # With a query to come, a "?" that a path contains must not look like its beginning.
        reserved = _RESERVED.replace("?#", "") if self._query else _RESERVED
        uri = [self._prefix]
        for part in self._parts:
            if part.name not in values:
                raise TypeError(f"{self.template}: missing variable {part.name!r}")
            value = values[part.name]
            if not value and not part.exploded:
                raise ValueError(f"{self.template}: expected a value for {part.name!r}, got an empty string")
            if part.exploded:
                uri += [f"/{_escaped(segment)}" for segment in value.split("/") if value]
            else:
                uri.append(_escaped(value, reserved if part.many else ""))
            uri.append(part.tail)
        pairs = [f"{name}={_escaped(values[name])}" for name in self._query if name in values]
        return "".join(uri) + ("?" + "&".join(pairs) if pairs else "")

    def _spans(self, path: str) -> list[tuple[int, int]] | None:
        """Return where each variable's value starts and ends in ``path``.

        Depth-first over the places where a literal may end a value, leftmost first. What follows a place does
        not depend on how it was reached, so no place is tried twice for one variable (``resume``): at most
        ``2 * len(parts) * len(path)`` steps.
        """
        parts, last = self._parts, len(self._parts) - 1
        start = len(self._prefix)
        if last < 0:
            return [] if start == len(path) else None
        resume = [0] * len(parts)
        limits = [-1] * len(parts)
        spans: list[tuple[int, int]] = []
        while True:
            at = len(spans)
            part = parts[at]
            if start > limits[at]:
                stop = part.stop.search(path, start) if part.stop else None
                limits[at] = stop.start() if stop else len(path)
            limit = limits[at]
            if part.exploded and path[start : start + 1] != "/":
                limit = start  # no segments at all
            first = max(start if part.exploded else start + 1, resume[at])
            end = _end(part, path, first, limit, final=at == last)
            resume[at] = (limit if end < 0 else end) + 1
            if end < 0:
                if not spans:
                    return None
                start = spans.pop()[0]
                continue
            spans.append((start, end))
            start = end + len(part.tail)
            if at == last:
                return spans

    def _match_query(self, query: str, values: dict[str, str]) -> bool:
        """Add the query's parameters to ``values``; False for an unknown, repeated or malformed one."""
        if not query:
            return True
        if query.count("&") >= len(self._query):
            return False
        for pair in query.split("&"):
            name, equals, raw = pair.partition("=")
            if not equals or name not in self._query or name in values:
                return False
            value = _decoded(raw)
            if value is None or (self.safe and _smuggles(value)):
                return False
            values[name] = value
        return True


# --- matching -----------------------------------------------------------------------------------------------


def _end(part: _Part, path: str, first: int, limit: int, *, final: bool) -> int:
    """Return the first place from ``first`` to ``limit`` at which the value of ``part`` may end, or -1."""
    if final:
        end = len(path) - len(part.tail)
        return end if first <= end <= limit and path.endswith(part.tail) else -1
    if not part.tail:  # an explode follows: it starts with what ends this value
        return limit if first <= limit else -1
    return path.find(part.tail, first, limit + len(part.tail))


def _decoded(raw: str) -> str | None:
    """Percent-decode one value; None when an escape is malformed, or not UTF-8."""
    if "%" not in raw:
        return raw
    if raw.count("%") != sum(len(run) // 3 for run in _ESCAPES.findall(raw)):
        return None
    try:
        return _ESCAPES.sub(_unescape, raw)
    except UnicodeDecodeError:
        return None


def _is_safe(value: str, raw: str, part: _Part) -> bool:
    """Tell whether decoding ``raw`` brought in nothing that could lead out of where the template points."""
    if _smuggles(value) or "\\" in value or "." in value.split("/") or _DRIVE.match(value):
        return False
    if value.count("/") != raw.count("/") - part.exploded * bool(raw):
        return False
    return not (part.relative and value.startswith("/"))


def _smuggles(value: str) -> bool:
    return _CONTROL.search(value) is not None or ".." in re.split(r"[/\\]", value)


def _unescape(run: re.Match[str]) -> str:
    return bytes.fromhex(run[0].replace("%", "")).decode()


def _escaped(value: str, reserved: str = "") -> str:
    """Percent-encode all but unreserved characters and ``reserved``, a piece of a character class."""
    return re.sub(f"[^{_UNRESERVED}{reserved}]", _escape, value)


def _escape(character: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in character[0].encode())


# --- parsing ------------------------------------------------------------------------------------------------

_EXPRESSION = re.compile(r"\{([+./?]?)([^{}]*)\}")
#: Operator -> the literal before its first variable, and between two.
_LITERALS = {"": ("", ","), "+": ("", ","), ".": (".", "."), "/": ("/", "/")}


class _Expression(NamedTuple):
    begin: int
    end: int
    operator: str
    names: list[str]
    exploded: bool


def _parse(template: str) -> tuple[str, tuple[_Part, ...], tuple[str, ...]]:
    """Return the literal at the start, the variables with what follows each, and the query's variables."""
    if not 0 < len(template) <= MAX_TEMPLATE_LENGTH:
        expected = f"1 to {MAX_TEMPLATE_LENGTH} characters"
        raise ConfigError(f"URI template: expected {expected}, got {len(template)}")
    literals = [""]  # always one more than parts
    parts: list[_Part] = []
    query: list[str] = []
    at = 0
    while at < len(template):
        if query:
            raise _error(template, at, "nothing may follow the query")
        begin = template.find("{", at)
        literal = template[at:] if begin < 0 else template[at:begin]
        if "}" in literal:
            raise _error(template, at + literal.index("}"), "'}' without '{'")
        literals[-1] += literal
        if begin < 0:
            break
        expression = _expression(template, begin, {part.name for part in parts})
        at = expression.end
        if expression.operator != "?":
            _append(template, expression, literals, parts)
        elif "?" in "".join(literals):
            raise _error(template, begin, "the query has begun before")
        else:
            query = expression.names
        if len(parts) + len(query) > MAX_VARIABLES:
            raise _error(template, begin, f"expected at most {MAX_VARIABLES} variables")
    tails = [part._replace(tail=tail) for part, tail in zip(parts, literals[1:], strict=True)]
    return literals[0], tuple(tails), tuple(query)


def _expression(template: str, begin: int, taken: set[str]) -> _Expression:
    """Read the expression at ``begin``; ``taken`` are the names that it may not use again."""
    found = _EXPRESSION.match(template, begin)
    if found is None:
        raise _error(template, begin, "expected '{', an operator, names and '}'")
    operator, text = found.groups()
    exploded = operator == "/" and text.endswith("*") and "," not in text
    names = text.removesuffix("*").split(",") if exploded else text.split(",")
    at = found.start(2)
    for i, name in enumerate(names):
        if name.endswith("*"):
            raise _error(template, at, "'*' is for {/name*} only")
        if _NAME.fullmatch(name) is None:
            expected = "a name of letters, digits and underscores, after an operator (+ . / ?) or none"
            raise _error(template, at, f"expected {expected}")
        if name in taken or name in names[:i]:
            raise _error(template, at, f"variable {name!r} is there twice")
        at += len(name) + 1
    return _Expression(begin, found.end(), operator, names, exploded)


def _append(template: str, expression: _Expression, literals: list[str], parts: list[_Part]) -> None:
    """Add an expression's variables, and the literals that its operator puts around them."""
    operator, names, exploded = expression.operator, expression.names, expression.exploded
    before, between = ("", "") if exploded else _LITERALS[operator]
    many = exploded or operator == "+"
    stop = _PATH_STOP if exploded else None if many else _SEGMENT_STOP
    for i, name in enumerate(names):
        literals[-1] += between if i else before
        if parts and not literals[-1] and (not exploded or parts[-1].many):
            problem = "two variables with nothing between them cannot be told apart"
            raise _error(template, expression.begin, problem)
        relative = exploded or re.search(r"(?<!:/)/\Z", literals[-1]) is not None
        parts.append(_Part(name, stop, exploded, many, relative, ""))
        literals.append("")


def _error(template: str, at: int, problem: str) -> ConfigError:
    return ConfigError(f"URI template {template!r}: {problem} (at character {at})")
