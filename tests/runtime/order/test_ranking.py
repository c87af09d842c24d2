"""Ranks: easy first by each metric's own sense, undefined scores last, and quantiles over several sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import DataError
from runtime.order.ranking import SHARES, ChanceRanking, Pool, ScoreRanking, shared_pools
from tests.runtime.order.scores import curriculum_plan, write_scores

SCORES = [5.0, np.nan, 1.0, 3.0, np.nan, 2.0]


@pytest.mark.parametrize(
    ("metric", "order", "expected"),
    [
        ("mtld", "easy_to_hard", [2, 5, 3, 0, 1, 4]),
        ("mtld", "hard_to_easy", [0, 3, 5, 2, 1, 4]),
        # A high reading ease is an easy text.
        ("flesch_reading_ease", "easy_to_hard", [0, 3, 5, 2, 1, 4]),
        ("flesch_reading_ease", "hard_to_easy", [2, 5, 3, 0, 1, 4]),
    ],
)
def test_easy_samples_rank_first_and_undefined_ones_last(
    metric: str, order: str, expected: list[int], tmp_path: Path
) -> None:
    """Whichever end is easy, what has no score is no news of either."""
    folder = write_scores(tmp_path, SCORES, metric)
    ranking = ScoreRanking.open(curriculum_plan(metric=metric, order=order), folder, "web", 6)

    assert ranking.defined == 4
    assert ranking.at(np.arange(6)).tolist() == expected
    assert ranking.keys(np.arange(6)).tolist() == sorted(ranking.keys(np.arange(6)))


@pytest.mark.parametrize("undefined", [0, 3])
def test_all_or_none_may_have_scores(undefined: int, tmp_path: Path) -> None:
    """The bisection ends at both ends."""
    folder = write_scores(tmp_path, [np.nan] * undefined + [1.0] * (3 - undefined))

    assert ScoreRanking.open(curriculum_plan(), folder, "web", 3).defined == 3 - undefined


@pytest.mark.parametrize("fault", ["missing", "truncated", "another"])
def test_scores_that_do_not_fit_are_refused(fault: str, tmp_path: Path) -> None:
    """The source, the folder and the remedy are named."""
    folder = write_scores(tmp_path / "scores", SCORES[: 5 if fault == "another" else 6])
    array = folder / "length.npy"
    if fault == "missing":
        array.unlink()
    if fault == "truncated":
        array.write_bytes(array.read_bytes()[:-3])

    with pytest.raises(DataError) as caught:
        ScoreRanking.open(curriculum_plan(), folder, "web", 6)

    assert caught.value.code == "RC408"
    assert "`web`" in str(caught.value)
    assert str(folder) in caught.value.remedy


def test_chance_ranks_are_a_permutation_of_the_seed() -> None:
    """The control looks at no score."""
    found = ChanceRanking(5000, 1, "web").at(np.arange(5000))

    assert sorted(found.tolist()) == list(range(5000))
    assert found.tolist() != ChanceRanking(5000, 2, "web").at(np.arange(5000)).tolist()


def test_a_pool_holds_a_share_of_the_ranks() -> None:
    """Rounded up, so that some sample may always be drawn; in whole numbers for any size."""
    assert [Pool(1000).size(int(share * SHARES)) for share in (0.01, 0.5, 1.0)] == [10, 500, 1000]
    assert Pool(10**12).size(1) == 233
    assert Pool(3).size(1) == 1


def _pools(folder: Path, **sources: Any) -> dict[str, Pool]:
    plan = curriculum_plan(scope="mix")
    opened = {
        name: ScoreRanking.open(plan, write_scores(folder / name, values), name, len(values))
        for name, values in sources.items()
    }
    return shared_pools(opened)


def test_sources_come_in_by_quantiles_of_the_mix(tmp_path: Path) -> None:
    """Of an easy and a hard source, the easy one comes in first; equal ones come in together."""
    pools = _pools(tmp_path / "a", easy=np.arange(100), hard=1000 + np.arange(300))
    assert [pools["easy"].size(int(s * SHARES)) for s in (0.125, 0.25, 0.5, 1.0)] == [50, 100, 100, 100]
    assert [pools["hard"].size(int(s * SHARES)) for s in (0.125, 0.25, 0.5, 1.0)] == [0, 0, 100, 300]
    pools = _pools(tmp_path / "b", one=np.zeros(100), two=np.zeros(300))
    assert [pool.size(SHARES // 2) for pool in pools.values()] == [50, 150]


def test_undefined_scores_are_beyond_every_quantile(tmp_path: Path) -> None:
    """They come in when everything does."""
    pools = _pools(tmp_path, web=[1.0, 2.0, np.nan, np.nan], code=[3.0] * 4)
    assert [pools["web"].size(int(s * SHARES)) for s in (0.25, 0.7, 1.0)] == [2, 2, 4]
    assert pools["code"].size(int(0.75 * SHARES)) == 4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.floats(-5, 5, width=16) | st.just(np.nan), min_size=1, max_size=60), min_size=1, max_size=4),
    st.floats(0, 1),
)
def test_pools_of_a_mix_sum_to_its_share(
    tmp_path_factory: pytest.TempPathFactory, sources: list[list[float]], share: float
) -> None:
    """To within a sample per source, whatever the scores and ties."""
    named = {f"source{i}": values for i, values in enumerate(sources)}
    pools = _pools(tmp_path_factory.mktemp("mix"), **named)
    sizes = [pool.size(int(share * SHARES)) for pool in pools.values()]

    assert abs(sum(sizes) - share * sum(map(len, sources))) <= len(sources) + 1e-6


def test_large_sources_are_compared_at_some_of_their_ranks(tmp_path: Path) -> None:
    """To within a ten-thousandth of each."""
    rng = np.random.Generator(np.random.PCG64(1))
    web, code = rng.normal(size=100_000), rng.normal(0.5, 2.0, size=50_000)
    pools = _pools(tmp_path, web=web, code=code)
    for share in (0.01, 0.2, 0.5, 0.9):
        limit = np.quantile(np.concatenate([web, code]), share)
        for name, values in {"web": web, "code": code}.items():
            assert pools[name].size(int(share * SHARES)) / len(values) == pytest.approx(
                np.mean(values <= limit), abs=2e-4
            )
