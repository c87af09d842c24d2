"""Readability: the formulas' golden numbers, and textstat's own rules on real text."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.scoring.readability import Counts, count, flesch_kincaid, flesch_reading_ease, syllables_of
from tests.runtime.scoring.texts import paragraphs

Metric = Callable[[str, str], float]


@pytest.fixture
def textstat(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Metric, Metric]]:
    """textstat's Reading Ease and Flesch-Kincaid without its list of words, so that pyphen counts all syllables."""
    counts = importlib.import_module("textstat.backend.counts._count_syllables")
    metrics = importlib.import_module("textstat.backend.metrics")
    per_word = importlib.import_module("textstat.backend.metrics._syllables_per_word")
    monkeypatch.setattr(counts, "get_cmudict", lambda _: None)
    cached = (
        counts.count_syllables,
        per_word.syllables_per_word,
        metrics.flesch_reading_ease,
        metrics.flesch_kincaid_grade,
    )
    for function in cached:
        function.cache_clear()
    yield metrics.flesch_reading_ease, metrics.flesch_kincaid_grade
    for function in cached:
        function.cache_clear()


@pytest.mark.parametrize(
    ("text", "counts", "ease", "grade"),
    [
        ("Cool dogs wear da sunglasses.", Counts(5, 1, 7), 83.32, 2.88),
        ("The cat sat on the mat.", Counts(6, 1, 6), 116.145, -1.45),
    ],
)
def test_golden_numbers(text: str, counts: Counts, ease: float, grade: float) -> None:
    """Words, sentences and syllables of two sentences, and both formulas."""
    assert count(text) == counts
    assert flesch_reading_ease(counts) == pytest.approx(ease, abs=1e-9)
    assert flesch_kincaid(counts) == pytest.approx(grade, abs=1e-9)


def test_real_text_as_textstat_scores_it(textstat: tuple[Metric, Metric]) -> None:
    """Equal to rounding, on documents of CPython with code, lists and quotations in them."""
    ease, grade = textstat
    for text in paragraphs():
        assert flesch_reading_ease(count(text)) == pytest.approx(ease(text, "en_US"), abs=1e-9)
        assert flesch_kincaid(count(text)) == pytest.approx(grade(text, "en_US"), abs=1e-9)


def test_a_list_of_words_counts_more_syllables() -> None:
    """With cmudict, as textstat is installed, the same documents are harder by a grade or so, and rank alike."""
    grade = importlib.import_module("textstat.backend.metrics").flesch_kincaid_grade
    ours = [flesch_kincaid(count(text)) for text in paragraphs()]
    theirs = [grade(text, "en_US") for text in paragraphs()]
    differences = [b - a for a, b in zip(ours, theirs, strict=True)]
    assert 0 < sum(differences) / len(differences) < 3
    ranks = [sorted(range(len(ours)), key=values.__getitem__) for values in (ours, theirs)]
    places = [{document: place for place, document in enumerate(rank)} for rank in ranks]
    moved = [abs(places[0][i] - places[1][i]) for i in range(len(ours))]
    assert sum(moved) / len(moved) < len(ours) / 10


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        ("One. Two three. Four five six. And so on it goes!", 11, 2),
        ("no end at all", 4, 1),
        ("'tis the dogs' bone, isn't it?", 6, 1),
        ("... !!! ???", 0, 1),
    ],
)
def test_words_and_sentences(text: str, words: int, sentences: int) -> None:
    """Sentences of one or two words are none; a text has one at least; marks alone are no words."""
    assert count(text)[:2] == (words, sentences)


def test_a_text_without_words_has_no_score() -> None:
    """NaN, not textstat's 0, which would rank it among real ones."""
    assert math.isnan(flesch_reading_ease(count("--")))
    assert math.isnan(flesch_kincaid(count("")))


@given(st.text(max_size=300))
def test_any_text_can_be_counted(text: str) -> None:
    """Every word has a syllable, and a sentence has words; both scores are numbers where there is a word."""
    counts = count(text)
    assert counts.syllables >= counts.words >= 0
    assert 1 <= counts.sentences <= max(1, counts.words)
    assert math.isnan(flesch_kincaid(counts)) == (counts.words == 0)


def test_a_long_word_is_not_kept() -> None:
    """Base64 in a text is hyphenated somehow, and forgotten."""
    from runtime.scoring.readability import _syllables

    before = _syllables.cache_info().currsize
    assert syllables_of("qwertyuiop" * 1000) >= 1
    assert _syllables.cache_info().currsize == before
