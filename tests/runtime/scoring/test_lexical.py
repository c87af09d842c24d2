"""Lexical metrics: the card's golden numbers, lexicalrichness on real text, and what holds for any words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lexicalrichness import LexicalRichness

from runtime.scoring.lexical import hdd, mtld, mtld_one_way, ttr, unigram_entropy, vocd
from runtime.scoring.words import words_of
from tests.runtime.scoring.texts import paragraphs

CAT = ["the", "cat", "sat", "on", "the", "mat", "the", "end"]
SQUARES = [f"w{i * i % 37}" for i in range(100)]
WORDS = st.lists(st.sampled_from([f"w{i}" for i in range(30)]), max_size=200)


def synthetic() -> list[str]:
    """120 words of a linear congruential generator."""
    x, found = 12345, []
    for _ in range(120):
        x = (1103515245 * x + 12345) % 2**31
        found.append(f"w{(x >> 16) % 40}")
    return found


def test_golden_numbers_of_short_texts() -> None:
    """Entropy of letters and words, TTR, and MTLD in both directions, by hand."""
    assert unigram_entropy("abracadabra") == pytest.approx(2.040373, abs=1e-6)
    assert unigram_entropy(CAT) == pytest.approx(2.405639, abs=1e-6)
    assert ttr(CAT) == 0.75
    assert (mtld_one_way(CAT), mtld_one_way(CAT[::-1])) == pytest.approx((8, 8.96))
    assert mtld(CAT) == pytest.approx(8.48)


def test_golden_numbers_of_synthetic_words() -> None:
    """Two sequences that every reader of the card can make again."""
    words = synthetic()
    assert words[:12] == ["w28", "w28", "w37", "w18", "w7", "w5", "w21", "w2", "w10", "w21", "w12", "w19"]
    assert len(set(words)) == 39
    assert ttr(words) == 0.325
    assert unigram_entropy(words) == pytest.approx(5.115166, abs=1e-6)
    assert hdd(words) == pytest.approx(0.6353287, abs=1e-7)
    assert vocd(words) == pytest.approx(23.07082, abs=1e-5)
    assert (mtld_one_way(words), mtld_one_way(words[::-1])) == pytest.approx((22.03279, 20.20253), abs=1e-5)
    assert mtld(words) == pytest.approx(21.11766, abs=1e-5)
    assert (len(set(SQUARES)), ttr(SQUARES)) == (19, 0.19)
    assert hdd(SQUARES) == pytest.approx(0.4262386, abs=1e-7)
    assert vocd(SQUARES) == pytest.approx(6.62508, abs=1e-5)
    assert mtld(SQUARES) == pytest.approx(20.0)


def test_real_text_as_lexicalrichness_scores_it() -> None:
    """The same words, and the same numbers; its vocd-D samples by chance, ours is the expectation of that."""
    errors = []
    for text in paragraphs():
        theirs, words = LexicalRichness(text), words_of(text)
        assert words == theirs.wordlist
        assert ttr(words) == theirs.ttr
        assert mtld(words) == pytest.approx(theirs.mtld(0.72), rel=1e-12)
        if len(words) >= 60:
            assert hdd(words) == pytest.approx(theirs.hdd(42), rel=1e-9)
    for text in paragraphs()[:8]:
        words = words_of(text)
        theirs = LexicalRichness(text)
        errors.append(vocd(words) / theirs.vocd(within_sample=100, iterations=3, seed=42) - 1)
    # 100 samples of 35 to 50 words have a mean TTR good to about 0.005, which moves D by some percent, to either side.
    assert max(map(abs, errors)) < 0.06
    assert abs(sum(errors) / len(errors)) < 0.025


def test_what_is_a_word() -> None:
    """Case, digits, dashes and punctuation make no words of their own."""
    assert words_of("Don't e-mail x2 (so) twice\N{EM DASH}please.") == ["don", "t", "email", "x", "so", "twiceplease"]
    assert words_of("  42 -- !\n") == []
    assert words_of("Größe, naïve") == ["größe", "naïve"]


@given(WORDS)
def test_bounds(words: list[str]) -> None:
    """Each metric is undefined exactly where the text is too short for it, and within its bounds elsewhere."""
    number, types = len(words), len(set(words))
    assert math.isnan(ttr(words)) == math.isnan(unigram_entropy(words)) == math.isnan(mtld(words)) == (number == 0)
    if number:
        assert 0 < ttr(words) <= 1
        assert -1e-12 <= unigram_entropy(words) <= math.log2(types) + 1e-12
        # A factor is full after two words at the earliest, and begins to fill with the first word that stands twice.
        assert min(number, 2) <= mtld(words) <= max(number, 0.28 * number**2) + 1e-9
    assert math.isnan(hdd(words)) == (number < 42)
    assert number < 42 or 1 / 42 - 1e-12 <= hdd(words) <= 1 + 1e-12
    assert math.isnan(vocd(words)) == (number <= 50)
    assert number <= 50 or 0 < vocd(words) <= 1e4


@given(WORDS, st.randoms(use_true_random=False))
def test_only_mtld_sees_the_order(words: list[str], random: object) -> None:
    """All but MTLD are functions of the counts, and MTLD is the same read backwards; names don't matter to any."""
    shuffled = list(words)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a Random
    for metric in (ttr, unigram_entropy, hdd, vocd):
        assert metric(shuffled) == pytest.approx(metric(words), nan_ok=True)
    assert mtld(words[::-1]) == pytest.approx(mtld(words), nan_ok=True)
    for metric in (ttr, unigram_entropy, hdd, vocd, mtld):
        assert metric([f"{word}x" for word in words]) == pytest.approx(metric(words), nan_ok=True)


def test_extreme_texts() -> None:
    """One word for ever, and never a word twice."""
    one, all_new = ["a"] * 300, [f"w{i}" for i in range(300)]
    assert (unigram_entropy(one), unigram_entropy(all_new)) == pytest.approx((0, math.log2(300)))
    assert (hdd(one), hdd(all_new)) == pytest.approx((1 / 42, 1))
    assert vocd(one) < 0.02
    assert vocd(all_new) == pytest.approx(1e4)
    assert (mtld(one), mtld(all_new)) == (2, 300)


def test_vocd_finds_the_d_of_a_curve() -> None:
    """No D nearby fits better."""
    from runtime.scoring.lexical import _expected_ttr

    words = synthetic()
    measured = _expected_ttr(words, 50)[34:]

    def misfit(d: float) -> float:
        return math.fsum(
            (d / n * (math.sqrt(1 + 2 * n / d) - 1) - share) ** 2
            for n, share in zip(range(35, 51), measured, strict=True)
        )

    best = vocd(words)
    assert misfit(best) < min(misfit(best * 1.001), misfit(best / 1.001))
