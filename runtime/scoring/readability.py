"""Flesch Reading Ease and Flesch-Kincaid grade, by textstat's rules for words and sentences and pyphen's syllables."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pyphen import Pyphen

__all__ = ["Counts", "count", "flesch_kincaid", "flesch_reading_ease", "syllables_of"]

_LANGUAGE: Final = "en_US"
_SENTENCE: Final = re.compile(r"\b[^.!?]+[.!?]*")
# An apostrophe stays before what may be a contraction's end, also in `'tis`; elsewhere it is a quotation mark.
_APOSTROPHE: Final = re.compile(r"\'(?![tsd]|ve|ll|re)")
_PUNCTUATION: Final = re.compile(r"[^\w\s\']")
_FEWEST_WORDS_OF_A_SENTENCE: Final = 3
# Three pieces with a letter or digit each are three words; spares most sentences the exact count, which takes twice as long.
_THREE_WORDS: Final = re.compile(r"\w\S*\s+(?:[^\w\s]+\s+)*\S*?\w\S*\s+(?:[^\w\s]+\s+)*\S*?\w")
# Letters; what is longer is data, such as base64, and comes once.
_LONGEST_KEPT: Final = 64


class Counts(NamedTuple):
    """What both formulas are made of."""

    words: int
    sentences: int
    syllables: int


def count(text: str) -> Counts:
    """Words, sentences and syllables of an English text, as textstat 0.7.8 counts them where it asks pyphen.

    A sentence ends in `.`, `!` or `?`, and has three words at least; a text has one at least. textstat itself asks cmudict
    first for a word's syllables; its list knows 126,000 words and pyphen's rules know all, so results differ: `sunglasses`
    has 3 in both, `area` 3 in cmudict and 1 here.
    """
    words = _words(text)
    ends = sum(_is_sentence(sentence) for sentence in _SENTENCE.findall(text))
    return Counts(len(words), max(1, ends), sum(syllables_of(word.lower()) for word in words))


def _is_sentence(text: str) -> bool:
    return _THREE_WORDS.match(text) is not None or len(_words(text)) >= _FEWEST_WORDS_OF_A_SENTENCE


def flesch_reading_ease(counts: Counts) -> float:
    """206.835 - 1.015 words a sentence - 84.6 syllables a word (Flesch 1948); high is easy. NaN without a word."""
    if not counts.words:
        return math.nan
    return 206.835 - 1.015 * counts.words / counts.sentences - 84.6 * counts.syllables / counts.words


def flesch_kincaid(counts: Counts) -> float:
    """0.39 words a sentence + 11.8 syllables a word - 15.59 (Kincaid et al. 1975), a school grade; NaN without a word."""
    if not counts.words:
        return math.nan
    return 0.39 * counts.words / counts.sentences + 11.8 * counts.syllables / counts.words - 15.59


def syllables_of(word: str) -> int:
    """Places at which a word may be hyphenated, and one."""
    return _syllables(word) if len(word) <= _LONGEST_KEPT else _syllables.__wrapped__(word)


@functools.lru_cache(maxsize=1 << 18)
def _syllables(word: str) -> int:
    hyphens = _hyphens()
    found = len(hyphens.positions(word)) + 1
    # pyphen remembers every word for ever, and a corpus has millions.
    hyphens.hd.cache.clear()
    return found


@functools.cache
def _hyphens() -> Pyphen:
    from pyphen import Pyphen

    return Pyphen(lang=_LANGUAGE)


def _words(text: str) -> list[str]:
    return _PUNCTUATION.sub("", _APOSTROPHE.sub("", text)).split()
