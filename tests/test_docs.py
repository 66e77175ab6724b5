"""The documents are true: their code runs, prints what they say, and what they name exists.

In README.md, CONTRIBUTING.md, CHANGELOG.md and docs/:

- every ``python`` block runs, in one namespace per document and in an empty directory. One that begins with
  ``# name.py`` is also that file, for the blocks after it; one that starts a server is only imported;
- a ``text`` block right after it is what it prints;
- links lead to files and headings, paths and dotted names in backticks exist, and so do make targets.
"""

import contextlib
import importlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "docs").is_dir():
    pytest.skip("the documents are not here", allow_module_level=True)

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PLACES = ("src/", "ext/", "tests/", "scripts/", "benchmarks/", "docs/", "examples/", ".ci/", ".github/")


def prose(document: Path) -> str:
    """Return the text of a document without its blocks of code."""
    return BLOCK.sub("", document.read_text())


def anchors(document: Path) -> set[str]:
    """Return the anchors that the headings of a document get."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(prose(document))
    }


def snippets(document: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the Python blocks of a document, each with the output that is shown right after it."""
    text = document.read_text()
    blocks = list(BLOCK.finditer(text))
    for number, block in enumerate(blocks):
        if block[1] != "python":
            continue
        following = blocks[number + 1] if number + 1 < len(blocks) else None
        adjacent = following is not None and not text[block.end() : following.start()].strip()
        yield block[2], following[2] if adjacent and following and following[1] == "text" else None


def named(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize(
    "document", [document for document in DOCUMENTS if list(snippets(document))], ids=named
)
def test_code_runs_and_prints_what_is_shown(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for code, expected in snippets(document):
        name = re.match(r"# (\w+\.py)\n", code)
        if name:
            (tmp_path / name[1]).write_text(code)
        namespace["__name__"] = "snippet" if "app.run(" in code else "__main__"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{named(document)}: {code.splitlines()[0]}", "exec"), namespace)
        if expected is not None:
            assert printed.getvalue() == expected


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in LINK.findall(prose(document)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_what_is_named_exists(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    missing = []
    for name in CODE.findall(prose(document)):
        if name.startswith(PLACES) and "*" not in name and "<" not in name:
            if not (ROOT / name.split()[0].rstrip(":")).exists():
                missing.append(name)
        elif target := re.fullmatch(r"make ([\w-]+)", name):
            if f"\n{target[1]}:" not in makefile:
                missing.append(name)
        elif re.fullmatch(r"taut(\.\w+)+", name) and not exists(name):
            missing.append(name)
    assert missing == []


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            # A field that a class only annotates is no attribute of it.
            if part in getattr(value, "__annotations__", {}):
                return True
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


def test_every_document_is_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in seen or document.suffix != ".md" or not document.exists():
            continue
        seen.add(document)
        links = (link.partition("#")[0] for link in LINK.findall(prose(document)) if "://" not in link)
        waiting += [(document.parent / link).resolve() for link in links if link]
    assert sorted(named(document) for document in set(DOCUMENTS) - seen) == []
