"""An index over tools: which of thousands does what is asked for, within a fraction of a millisecond.

Words are ranked by BM25F (Robertson, Zaragoza: The Probabilistic Relevance Framework: BM25 and Beyond, 2009): a
tool's name, its description, its parameters and what its server is about are fields, each with a weight and a length of
its own. What each term contributes to each tool is computed when the index is built, so that a query only adds up
arrays: it takes time for the tools that have one of its words, not for all.

With ``embed`` the ranking by meaning is joined to that by words, by reciprocal rank fusion (Cormack, Clarke, Buettcher:
Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods, 2009), here with a weight.

An index does not change once it is built: it may be searched from many threads and tasks at once, if ``embed`` may.
It is built anew when tools change. It needs numpy (the extra ``taut[search]``), imported when the first index is built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from taut.agent.search.terms import expanded, terms
from taut.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from taut.llm.model import ToolSpec

    Floats: TypeAlias = NDArray[np.float32]
    Ints: TypeAlias = NDArray[np.int32]

__all__ = ["SEPARATOR", "Embed", "Found", "Ranking", "ToolIndex"]

#: Texts in, one vector for each out, all of one length. Called in the thread that builds or searches the index: whoever
#: asks a service for vectors builds and searches in a thread (`asyncio.to_thread`).
Embed: TypeAlias = Callable[[Sequence[str]], Sequence[Sequence[float]]]

#: Stands between the name of a server and that of its tool.
SEPARATOR = "__"


class Found(NamedTuple):
    """A tool that was found. Scores compare within one search only."""

    name: str
    score: float


class Field(NamedTuple):
    """How much a word in this part of a tool counts, and how far the length of the part is held against it (0 to 1)."""

    weight: float
    length: float


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """The constants of the ranking. The defaults were tuned on half of the labelled set of this repository."""

    name: Field = Field(1.0, 0.3)
    description: Field = Field(1.0, 0.3)
    parameters: Field = Field(0.4, 0.5)
    server: Field = Field(0.8, 0.3)
    #: What a synonym counts beside the word that was asked for.
    synonym: float = 0.6
    #: How soon repeating a word stops to help.
    k1: float = 0.8
    #: How fast a rank loses worth, and what the ranking by words counts beside that by meaning.
    rrf_k: int = 10
    words: float = 0.7


class _Postings(NamedTuple):
    """The tools that have a term and what it contributes to each: those from ``starts[n]`` on, for term ``n``."""

    numbers: dict[str, int]
    starts: Any
    places: Any
    contributions: Any

    def get(self, term: str) -> tuple[Ints, Floats] | None:
        number = self.numbers.get(term)
        if number is None:
            return None
        part = slice(self.starts[number], self.starts[number + 1])
        return self.places[part], self.contributions[part]


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise ConfigError("Expected numpy, which tool search needs, got none: install taut[search]") from None
    return numpy


class ToolIndex:
    """Tools, to be searched by what they do."""

    def __init__(
        self,
        specs: Iterable[ToolSpec],
        *,
        about: Mapping[str, str] | None = None,
        embed: Embed | None = None,
        separator: str = SEPARATOR,
        ranking: Ranking | None = None,
    ) -> None:
        """Index ``specs``. ``about`` says of servers, by name, what they are: a tool often does not.

        :raises taut.errors.ConfigError: two tools have one name, numpy is missing, or ``embed`` returned something else
            than one vector a text. What ``embed`` raises comes through.
        """
        self._np = _numpy()
        self._ranking = ranking or Ranking()
        # By name: of two tools with one score, the one that stands first is found first.
        ordered = sorted(specs, key=lambda spec: spec.name)
        self._names = [spec.name for spec in ordered]
        self._places: dict[str, int] = {name: place for place, name in enumerate(self._names)}
        if len(self._places) != len(ordered):
            twice = next(name for name, count in Counter(self._names).items() if count > 1)
            raise ConfigError(f"Expected tools with different names, got {twice} twice")
        self._bare: dict[str, list[int]] = {}
        for place, name in enumerate(self._names):
            self._bare.setdefault(name.rpartition(separator)[2].casefold(), []).append(place)
        self._postings = self._build(ordered, about or {}, separator)
        self._embed = embed
        self._vectors = (
            None if embed is None or not ordered else self._embedded(ordered, about or {}, separator)
        )

    def __len__(self) -> int:
        return len(self._names)

    # -- building

    def _build(self, specs: Sequence[ToolSpec], about: Mapping[str, str], separator: str) -> _Postings:
        np, ranking, total = self._np, self._ranking, len(specs)
        numbers: dict[str, int] = {}
        known: dict[str, list[int]] = {}

        def numbered(text: str) -> list[int]:
            # The same descriptions of parameters are met in many tools.
            found = known.get(text)
            if found is None:
                found = known[text] = [numbers.setdefault(term, len(numbers)) for term in terms(text)]
            return found

        cells, weights = [], []
        for field, texts in (
            (ranking.name, [(spec.name,) for spec in specs]),
            (ranking.description, [(spec.description,) for spec in specs]),
            (ranking.parameters, [_parameters(spec.input_schema) for spec in specs]),
            (ranking.server, [(about.get(spec.name.partition(separator)[0], ""),) for spec in specs]),
        ):
            words: list[int] = []
            lengths = np.zeros(total, dtype=np.int64)
            for place, parts in enumerate(texts):
                before = len(words)
                for part in parts:
                    words += numbered(part)
                lengths[place] = len(words) - before
            if words:
                share = lengths / lengths[lengths > 0].mean()
                norm = field.weight / (1 - field.length + field.length * np.maximum(share, 1e-6))
                # One cell for each term and tool: equal ones are added up below.
                cells.append(np.array(words, dtype=np.int64) * total + np.repeat(np.arange(total), lengths))
                weights.append(np.repeat(norm, lengths))
        if not cells:
            return _Postings({}, np.zeros(1, dtype=np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
        cell, inverse = np.unique(np.concatenate(cells), return_inverse=True)
        weight = np.bincount(inverse, weights=np.concatenate(weights))
        term = cell // total
        having = np.bincount(term, minlength=len(numbers))
        idf = np.log1p((total - having + 0.5) / (having + 0.5))
        contributions = idf[term] * weight * (ranking.k1 + 1) / (weight + ranking.k1)
        starts = np.concatenate(([0], np.cumsum(having)))
        return _Postings(numbers, starts, (cell % total).astype(np.int32), contributions.astype(np.float32))

    def _embedded(self, specs: Sequence[ToolSpec], about: Mapping[str, str], separator: str) -> Floats:
        texts = []
        for spec in specs:
            server, _, name = spec.name.rpartition(separator)
            words = name.replace("_", " ").replace("-", " ")
            parts = (part.strip().rstrip(".") for part in (words, spec.description, about.get(server, "")))
            texts.append(". ".join(filter(None, parts)))
        return self._unit(texts)

    def _unit(self, texts: Sequence[str]) -> Floats:
        """Return the vectors of ``texts``, each of length 1."""
        np = self._np
        assert self._embed is not None
        got = self._embed(texts)
        try:
            vectors = np.asarray(got, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"Expected embed to return {len(texts)} vectors of one length, got {error}"
            ) from None
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise ConfigError(
                f"Expected embed to return {len(texts)} vectors of one length, all finite, got an array of "
                f"shape {vectors.shape}"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Floats = vectors / np.where(lengths == 0, 1, lengths)
        return unit

    def _nearness(self, query: str, vectors: Floats) -> Floats:
        """Return the cosine of the angle between ``query`` and each tool."""
        vector = self._unit([query])[0]
        if len(vector) != vectors.shape[1]:
            raise ConfigError(
                f"Expected embed to return vectors of {vectors.shape[1]} numbers, as for the tools, got {len(vector)}"
            )
        near: Floats = vectors @ vector
        return near

    # -- searching

    def search(self, query: str, limit: int = 5, *, exclude: Iterable[str] = ()) -> list[Found]:
        """Return at most ``limit`` tools that fit ``query``, the best first; equal ones in the order of their names.

        A query that is the name of a tool, with its server or without, finds that one first. Where nothing fits,
        nothing is found; with ``embed`` something always is nearest, unless the query is empty. Names in ``exclude``
        are not found.

        :raises taut.errors.ConfigError: ``embed`` returned something else than a vector like those of the tools.
        """
        if limit <= 0 or not self._names or not query.strip():
            return []
        scores = self._by_words(query)
        if self._vectors is not None:
            scores = self._fused(scores, self._nearness(query, self._vectors))
        self._prefer_names(query.strip(), scores)
        for name in exclude:
            if name in self._places:
                scores[self._places[name]] = 0.0
        return [Found(self._names[place], float(scores[place])) for place in self._best(scores, limit)]

    def _by_words(self, query: str) -> Floats:
        np, postings = self._np, self._postings
        scores: Floats = np.zeros(len(self._names), dtype=np.float32)
        for term, synonyms in expanded(query):
            found = postings.get(term)
            others = [posting for posting in map(postings.get, synonyms) if posting is not None]
            if not others:
                if found is not None:
                    scores[found[0]] += found[1]
                continue
            # A wish is met once, by the word itself or by the best of its synonyms.
            best: Floats = np.zeros(len(self._names), dtype=np.float32)
            if found is not None:
                best[found[0]] = found[1]
            for places, contributions in others:
                best[places] = np.maximum(best[places], self._ranking.synonym * contributions)
            scores += best
        return scores

    def _fused(self, by_words: Floats, by_meaning: Floats) -> Floats:
        np, ranking = self._np, self._ranking
        by_rank = 1 / (ranking.rrf_k + 1 + np.arange(len(self._names), dtype=np.float32))
        fused: Floats = np.zeros(len(self._names), dtype=np.float32)
        fused[np.argsort(-by_meaning, kind="stable")] = by_rank
        order = np.argsort(-by_words, kind="stable")[: int(np.count_nonzero(by_words > 0))]
        fused[order] += ranking.words * by_rank[: len(order)]
        return fused

    def _prefer_names(self, query: str, scores: Floats) -> None:
        place = self._places.get(query)
        bare = self._bare.get(query.casefold(), [])
        if place is None and not bare:
            return
        top = float(scores.max()) + 1.0
        for other in bare:
            scores[other] += top
        if place is not None:
            scores[place] += 3 * top

    def _best(self, scores: Floats, limit: int) -> list[int]:
        np = self._np
        places = np.flatnonzero(scores > 0)
        found = scores[places]
        if len(places) > limit:
            # All that reach the last score that can be among the best: ties are then cut by name, not by chance.
            least = np.partition(found, len(found) - limit)[len(found) - limit]
            places = places[found >= least]
            found = scores[places]
        order: list[int] = places[np.argsort(-found, kind="stable")][:limit].tolist()
        return order


def _parameters(schema: Any, depth: int = 3) -> Iterable[str]:
    """Yield the names and descriptions of parameters, also of nested ones."""
    if depth == 0 or not isinstance(schema, dict):
        return
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for name, each in properties.items():
            yield str(name)
            if isinstance(each, dict):
                text = each.get("description")
                if isinstance(text, str):
                    yield text
                for value in each.get("enum", ()) if isinstance(each.get("enum"), list) else ():
                    if isinstance(value, str):
                        yield value
                yield from _parameters(each, depth - 1)
    if isinstance(schema.get("items"), dict):
        yield from _parameters(schema["items"], depth - 1)
