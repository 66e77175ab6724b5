"""English words without their endings, by Porter's algorithm (An algorithm for suffix stripping, Program 14(3), 1980).

    >>> [stem(word) for word in ("invoices", "scheduling", "deployment", "relational")]
    ['invoic', 'schedul', 'deploy', 'relat']

Words that mean the same nearly always get the same stem, which need not be a word. Steps and conditions are called as
in the paper. One is stricter: y becomes i only after a consonant, as in Porter's later algorithm, so that deploy and
deployment are one word. Words of other scripts, with digits, or of less than three letters stay as they are.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["stem"]

#: [C](VC)^m[V]: y is a vowel after a consonant.
_CONSONANT = r"(?:[^aeiouy]|(?<![^aeiou])y|^y)"
_VOWEL = r"(?:[aeiou]|(?<=[^aeiou])y)"
_SEQUENCE = re.compile(f"{_VOWEL}+{_CONSONANT}+")
_HAS_VOWEL = re.compile(_VOWEL)
_DOUBLE = re.compile(r"([^aeiouy])\1$")
#: *o: ends consonant, vowel, consonant, and the last is not w, x or y.
_SHORT = re.compile(f"{_CONSONANT}{_VOWEL}[^aeiouwxy]$")

_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "abli": "able", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
}  # fmt: skip
_STEP_3 = {
    "icate": "ic",
    "ative": "",  # codespell:ignore
    "alize": "al",
    "iciti": "ic",
    "ical": "ic",
    "ful": "",
    "ness": "",
}
_ENDINGS_4 = (
    "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize"  # codespell:ignore
)
_STEP_4 = dict.fromkeys(_ENDINGS_4.split(), "")


def _any_of(endings: dict[str, str]) -> re.Pattern[str]:
    longest_first = "|".join(sorted(endings, key=len, reverse=True))
    # Step 4 takes -ion from -sion and -tion only; the other steps do not have it.
    return re.compile(f"({longest_first})$".replace("|ion|", "|(?<=[st])ion|"))


_ENDING_2, _ENDING_3, _ENDING_4 = map(_any_of, (_STEP_2, _STEP_3, _STEP_4))


def _measure(start: str) -> int:
    return len(_SEQUENCE.findall(start))


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the stem of ``word``, which is in lower case."""
    if len(word) < 3 or not (word.isascii() and word.isalpha()):
        return word
    word = _step_1(word)
    word = _replaced(word, _ENDING_2, _STEP_2, 0)
    word = _replaced(word, _ENDING_3, _STEP_3, 0)
    word = _replaced(word, _ENDING_4, _STEP_4, 1)
    return _step_5(word)


def _replaced(word: str, ending: re.Pattern[str], by: dict[str, str], above: int) -> str:
    """Replace the longest ending of a step, if what stands before it has a measure over ``above``."""
    found = ending.search(word)
    if found is None:
        return word
    start = word[: found.start()]
    return start + by[found[1]] if _measure(start) > above else word


def _step_1(word: str) -> str:
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        if _measure(word[:-3]) > 0:
            word = word[:-1]
    else:
        for ending in ("ed", "ing"):
            start = word.removesuffix(ending)
            if start != word and _HAS_VOWEL.search(start):
                word = _mended(start)
                break
    if word.endswith("y") and word[-2] not in "aeiou" and _HAS_VOWEL.search(word[:-1]):
        word = word[:-1] + "i"
    return word


def _mended(start: str) -> str:
    """Return what is left of a word without -ed or -ing as a word: conflat(e), hop(p), fil(e)."""
    if start.endswith(("at", "bl", "iz")):
        return start + "e"
    if _DOUBLE.search(start) and start[-1] not in "lsz":
        return start[:-1]
    if _measure(start) == 1 and _SHORT.search(start):
        return start + "e"
    return start


def _step_5(word: str) -> str:
    if word.endswith("e"):
        start = word[:-1]
        measure = _measure(start)
        if measure > 1 or (measure == 1 and not _SHORT.search(start)):
            word = start
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word
