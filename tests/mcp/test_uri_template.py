"""URI templates: what matches, what is refused, that values stay safe, and that time stays linear."""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ConfigError
from taut.mcp.uri_template import MAX_TEMPLATE_LENGTH, MAX_URI_LENGTH, MAX_VARIABLES, UriTemplate

MATCHES = [
    ("note://all", "note://all", {}),
    ("note://all", "note://other", None),
    ("note://all", "note://all/", None),
    ("note://{name}", "note://a", {"name": "a"}),
    ("note://{name}", "note://a/b", None),
    ("note://{name}", "note://", None),
    ("note://{name}", "note://a?b", None),
    ("note://{name}", "note://a#b", None),
    ("note://{name}", "NOTE://a", None),
    ("note://{name}", "note://%C3%A9%20", {"name": "é "}),
    ("note://{name}", "note://é", {"name": "é"}),
    ("note://{name}", "note://a+b", {"name": "a+b"}),
    ("{scheme}://x", "http://x", {"scheme": "http"}),
    ("test://template/{id}/data", "test://template/123/data", {"id": "123"}),
    ("test://template/{id}/data", "test://template/123/dat", None),
    ("n://{name}.md", "n://a.md.md", {"name": "a.md"}),
    ("n://{name}.{ext}", "n://a.tar.gz", {"name": "a", "ext": "tar.gz"}),
    ("n://{x},{y}", "n://1,2", {"x": "1", "y": "2"}),
    ("n://{x,y}", "n://1,2", {"x": "1", "y": "2"}),
    ("f:///{+path}", "f:///a/b.txt", {"path": "a/b.txt"}),
    ("f:///{+path}", "f:///a?b#c", {"path": "a?b#c"}),
    ("f://{+path}", "f:///etc/hosts", {"path": "/etc/hosts"}),
    ("f:///{+path}/{name}", "f:///a/b/c", {"path": "a/b", "name": "c"}),
    ("{+p}/x{a}", "q/x/xb", {"p": "q/x", "a": "b"}),
    ("r://{owner}{/path*}", "r://o", {"owner": "o", "path": ""}),
    ("r://{owner}{/path*}", "r://o/", {"owner": "o", "path": ""}),
    ("r://{owner}{/path*}", "r://o/a/b%20c", {"owner": "o", "path": "a/b c"}),
    ("r://{owner}{/path*}.md", "r://o/a/b.md", {"owner": "o", "path": "a/b"}),
    ("r://h{/path*}", "r://host", None),
    ("z://{+a}y{/b*}z/{c}", "z://1y/2y/3z/4", {"a": "1", "b": "2y/3", "c": "4"}),
    ("a://x{/v,w}", "a://x/1/2", {"v": "1", "w": "2"}),
    ("a://x{.v,w}", "a://x.1.2", {"v": "1", "w": "2"}),
    ("s://x{?q,lang}", "s://x", {}),
    ("s://x{?q,lang}", "s://x?", {}),
    ("s://x{?q,lang}", "s://x?q=a", {"q": "a"}),
    ("s://x{?q,lang}", "s://x?lang=en&q=a%26b", {"q": "a&b", "lang": "en"}),
    ("s://x{?q,lang}", "s://x?q=", {"q": ""}),
    ("s://x{?q,lang}", "s://x?q", None),
    ("s://x{?q,lang}", "s://x?q=1&q=2", None),
    ("s://x{?q,lang}", "s://x?other=1", None),
    ("s://x{?q,lang}", "s://x?q=1&lang=2&x=3", None),
    ("s://{name}{?q}", "s://n?q=either/or", {"name": "n", "q": "either/or"}),
    ("s://{+p}{?q}", "s://a/b?q=1", {"p": "a/b", "q": "1"}),
]


@pytest.mark.parametrize(("template", "uri", "expected"), MATCHES)
def test_match(template: str, uri: str, expected: dict[str, str] | None) -> None:
    assert UriTemplate(template).match(uri) == expected


@pytest.mark.parametrize(
    ("template", "position", "problem"),
    [
        ("", None, "expected 1 to"),
        ("x" * (MAX_TEMPLATE_LENGTH + 1), None, f"got {MAX_TEMPLATE_LENGTH + 1}"),
        ("a{b", 1, "expected '{'"),
        ("a}b", 1, "without '{'"),
        ("a{b{c}}", 1, "expected '{'"),
        ("a{}", 2, "expected a name"),
        ("a{b,,c}", 4, "expected a name"),
        ("a{b c}", 2, "expected a name"),
        ("a{#b}", 2, "expected a name"),
        ("a{;b}", 2, "expected a name"),
        ("a{?b}{&c}", 5, "nothing may follow"),
        ("a{?b}c", 5, "nothing may follow"),
        ("a?x=1{?b}", 5, "begun before"),
        ("a{b:3}", 2, "expected a name"),
        ("a{b*}", 2, "{/name*} only"),
        ("a{/b,c*}", 5, "{/name*} only"),
        ("a{b}{c}", 4, "nothing between"),
        ("a{+b}{/c*}", 5, "nothing between"),
        ("a{/b*}{c}", 6, "nothing between"),
        ("a{b}/{b}", 6, "there twice"),
        ("a{b,b}", 4, "there twice"),
        ("a{b}{?b}", 6, "there twice"),
        ("".join(f"/{{v{i}}}" for i in range(MAX_VARIABLES + 1)), 183, f"at most {MAX_VARIABLES}"),
    ],
)
def test_a_template_that_cannot_be_matched_is_refused(
    template: str, position: int | None, problem: str
) -> None:
    with pytest.raises(ConfigError, match="URI template") as caught:
        UriTemplate(template)
    assert problem in str(caught.value)
    if position is not None:
        assert str(caught.value).endswith(f"(at character {position})")


def test_variables_and_optional_ones() -> None:
    template = UriTemplate("x://{a}{/b*}{?c,d}")
    assert template.variables == ("a", "b", "c", "d")
    assert template.optional == {"c", "d"}
    assert repr(template) == "UriTemplate('x://{a}{/b*}{?c,d}')"
    same, unsafe = UriTemplate(template.template), UriTemplate(template.template, safe=False)
    assert {template, same} == {template} != {unsafe}


# --- safety ---


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("f:///data/{name}", "f:///data/.."),
        ("f:///data/{name}", "f:///data/%2e%2E"),
        ("f:///data/{name}", "f:///data/."),
        ("f:///data/{name}", "f:///data/..%2F..%2Fetc%2Fpasswd"),
        ("f:///data/{name}", "f:///data/a%2Fb"),
        ("f:///data/{name}", "f:///data/a%5Cb"),
        ("f:///data/{name}", "f:///data/a\\b"),
        ("f:///data/{name}", "f:///data/a%00"),
        ("f:///data/{name}", "f:///data/a%0d%0aHost:x"),
        ("f:///data/{name}", "f:///data/C:"),
        ("f:///data/{+path}", "f:///data/../x"),
        ("f:///data/{+path}", "f:///data/a/../../x"),
        ("f:///data/{+path}", "f:///data/a/%2E./x"),
        ("f:///data/{+path}", "f:///data//etc/passwd"),
        ("f:///data/{+path}", "f:///data/%2Fetc/passwd"),
        ("f:///data/{+path}", "f:///data/a%2Fb"),
        ("f:///data/{+path}", "f:///data/C:/Windows"),
        ("f:///data{/path*}", "f:///data//etc"),
        ("f:///data{/path*}", "f:///data/a%2F..%2Fb"),
        ("f:///data{/path*}", "f:///data/a/.."),
        ("s://x{?path}", "s://x?path=../../etc/passwd"),
        ("s://x{?path}", "s://x?path=..%5Cx"),
        ("s://x{?path}", "s://x?path=a%00b"),
    ],
)
def test_a_value_cannot_lead_out(template: str, uri: str) -> None:
    assert UriTemplate(template).match(uri) is None
    assert UriTemplate(template, safe=False).match(uri) is not None


@pytest.mark.parametrize(
    "escape", ["%", "%z", "%zz", "%2", "a%2gb", "%C3", "%C3a%A9", "%FF", "%ED%A0%80", "%C0%AF"]
)
def test_malformed_escapes_never_match(escape: str) -> None:
    for safe in (True, False):
        assert UriTemplate("x://{a}", safe=safe).match(f"x://{escape}") is None
        assert UriTemplate("x://b{?a}", safe=safe).match(f"x://b?a={escape}") is None


def test_an_escaped_percent_is_decoded_once() -> None:
    assert UriTemplate("x://{a}").match("x://%252e%252e") == {"a": "%2e%2e"}


@given(st.text(max_size=40))
def test_a_match_never_yields_a_way_out(tail: str) -> None:
    for template in ("d:///{a}", "d:///{+a}", "d://{/a*}"):
        values = UriTemplate(template).match(f"d:///{tail}")
        if values is not None:
            segments = values["a"].replace("\\", "/").split("/")
            assert ".." not in segments
            assert not values["a"].startswith("/")
            assert "\x00" not in values["a"]


# --- expanding ---


def test_expand_escapes_what_would_not_match_back() -> None:
    template = UriTemplate("note://{user}/{name}.md{?lang}")
    uri = template.expand(user="a b/é", name="x?", lang="d&e")
    assert uri == "note://a%20b%2F%C3%A9/x%3F.md?lang=d%26e"
    assert UriTemplate("f:///{+path}").expand(path="a/b c?d%20") == "f:///a/b%20c?d%2520"
    assert UriTemplate("f:///{+path}{?q}").expand(path="a?b") == "f:///a%3Fb"


def test_expand_says_which_variable_is_wrong() -> None:
    template = UriTemplate("x://{a}{?b}")
    assert template.expand(a="1") == "x://1"
    with pytest.raises(TypeError, match="missing variable 'a'"):
        template.expand(b="1")
    with pytest.raises(TypeError, match="unknown variable 'c'"):
        template.expand(a="1", c="2")
    with pytest.raises(ValueError, match="expected a value for 'a'"):
        template.expand(a="")
    assert UriTemplate("x://{self}").expand(self="1") == "x://1"


CHARACTER = st.sampled_from(" %?#&={}.:+~*'") | st.characters(categories=("L", "N", "S"))
VALUE = st.text(CHARACTER, min_size=1, max_size=9).filter(
    lambda text: text not in (".", "..") and not (text[1:] == ":" and text[0] in string.ascii_letters)
)
PATH = st.lists(VALUE, min_size=1, max_size=4).map("/".join)
TEXT = st.text(CHARACTER | st.just("/"), max_size=9).filter(lambda text: ".." not in text)


@given(VALUE, VALUE, PATH, PATH, TEXT)
def test_match_inverts_expand(one: str, two: str, path: str, reserved: str, text: str) -> None:
    values = {"one": one, "two": two, "path": path, "text": text}
    template = UriTemplate("x://h/{one}/{two}{/path*}{?text}")
    assert template.match(template.expand(**values)) == values
    template = UriTemplate("x://{one,two}/{+reserved}{?text}")
    values = {"one": one, "two": two, "reserved": reserved, "text": text}
    assert template.match(template.expand(**values)) == values
    template = UriTemplate("x:{/one,two}")
    assert template.match(template.expand(one=one, two=two)) == {"one": one, "two": two}


NAIVE = {"{a}": "[^/?#]+", "{b}": "[^/?#]+", "{+a}": ".+", "{+b}": ".+"}


@given(
    st.lists(st.sampled_from(["x", "/", "xy", "y/"]), min_size=1, max_size=3),
    st.sampled_from(["{a}", "{+a}"]),
    st.sampled_from(["{b}", "{+b}"]),
    st.text("xy/", max_size=12),
)
def test_matching_is_complete(literals: list[str], first: str, second: str, uri: str) -> None:
    """Whatever a backtracking expression would match, matches; and nothing else does."""
    head, between, tail = (*literals, "x", "")[:3]
    template = UriTemplate(f"{head}{first}{between}{second}{tail}", safe=False)
    pattern = re.escape(head) + NAIVE[first] + re.escape(between) + NAIVE[second] + re.escape(tail)
    assert (template.match(uri) is not None) == (re.fullmatch(pattern, uri) is not None)


# --- linear time ---


def steps(call: Callable[[], object]) -> int:
    """Count the lines that ``call`` executes."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


class Scanned(str):
    """A string that counts the characters that `find` may have looked at."""

    __slots__ = ("looked_at",)
    looked_at: int

    def find(self, sub: str, start: Any = 0, end: Any = sys.maxsize) -> int:  # type: ignore[override]
        found = super().find(sub, start, end)
        looked = (min(end, len(self)) if found < 0 else found + len(sub)) - start
        self.looked_at = getattr(self, "looked_at", 0) + max(looked, 0)
        return found


ADVERSARIES = [
    ("a://" + "x".join(f"{{+v{i}}}" for i in range(10)) + "y", lambda n: "a://" + "x" * n),
    ("a://" + "x".join(f"{{v{i}}}" for i in range(10)) + "y", lambda n: "a://" + "x" * n),
    ("a://{+a}/{b}/{+c}/{d}/{+e}!", lambda n: "a://" + "b/" * (n // 2)),
    ("a://{+a}xx{+b}xx{/c*}xx{+d}z", lambda n: "a://" + "x" * (n // 2) + "/x" * (n // 4)),
    ("a://{+a}b{?c}", lambda n: "a://" + "%41" * (n // 3)),
    ("a://x{?c}", lambda n: "a://x?" + "&" * n),
    ("a://{+a}", lambda n: "a://" + "%" * n),
]


@pytest.mark.parametrize(("template", "make"), ADVERSARIES)
def test_time_is_linear_in_the_uri(template: str, make: Callable[[int], str]) -> None:
    compiled = UriTemplate(template)
    small, large = 250, 1500
    few = steps(lambda: compiled.match(make(small)))
    many = steps(lambda: compiled.match(make(large)))
    assert many <= 1.2 * (large / small) * few + 200
    scanned = Scanned(make(large))
    compiled.match(scanned)
    assert getattr(scanned, "looked_at", 0) <= 3 * len(compiled.variables) * len(scanned)


def test_a_uri_over_the_limit_matches_nothing() -> None:
    template = UriTemplate("a://{+v}")
    assert template.match("a://" + "x" * (MAX_URI_LENGTH - 4)) is not None
    assert template.match("a://" + "x" * (MAX_URI_LENGTH - 3)) is None
