"""Paced sources: each sample once a pass, easy ones first as the pacing lets them, any draw at once, the past untouched."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.order.base import SourceOrder
from runtime.order.orders import source_orders
from runtime.order.paced import PacedOrder
from runtime.order.ranking import ChanceRanking, Pool
from runtime.order.run_order import RunOrder
from runtime.order.shuffled import ShuffledOrder
from runtime.order.timeline import Timeline
from schemas.curriculum import competence
from schemas.plan import DataPlan, PhasePlan
from tests.factory import tiny_plan
from tests.runtime.order.phases import LENGTH, phases_of
from tests.runtime.order.scores import curriculum_plan, paced, write_scores

PACINGS: tuple[dict[str, Any], ...] = (
    {"pacing": "sqrt"},
    {"pacing": "linear", "power": 1.0},
    {"pacing": "root", "power": 3.0},
    {"pacing": "exponential", "growth": 1.9, "stages": 8},
    {"pacing": "two_stage", "start": 0.3},
    {"pacing": "step", "start": 0.2, "stages": 4},
)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 1500),
    st.sampled_from(PACINGS),
    st.sampled_from(["easy_to_hard", "hard_to_easy"]),
    st.integers(2, 40),
    st.floats(0.05, 2.9),
    st.lists(st.integers(0, 900), max_size=8),
)
def test_no_sample_is_drawn_again_before_all_were_drawn(
    tmp_path_factory: pytest.TempPathFactory, samples: int, pacing: dict[str, Any], order: str, buckets: int,
    duration: float, sizes: list[int],
) -> None:  # fmt: skip
    """Three passes, of which the curriculum ends in any, are permutations; any pieces of them are the same draws."""
    scores = np.random.Generator(np.random.PCG64(samples)).integers(0, 50, samples).astype(np.float32)
    scores[::7] = np.nan
    folder = write_scores(tmp_path_factory.mktemp("scores"), scores)
    end = max(1, int(duration * samples * LENGTH))
    plan = curriculum_plan(end_token=end, order=order, buckets=buckets, **pacing)
    whole = paced(folder, samples, 3 * samples, plan).draws(0, 3 * samples)

    for number in range(3):
        assert sorted(whole[number * samples : (number + 1) * samples].tolist()) == list(range(samples))
    start, pieces = 0, paced(folder, samples, 3 * samples, plan)
    assert pieces.draws(samples // 2, samples // 2).tolist() == []
    for size in sizes:
        stop = min(start + size, 3 * samples)
        assert np.array_equal(pieces.draws(start, stop), whole[start:stop])
        start = stop
    assert np.array_equal(
        paced(folder, samples, 3 * samples, plan).draws(samples // 2, 2 * samples), whole[samples // 2 : 2 * samples]
    )


@pytest.mark.parametrize("pacing", PACINGS, ids=lambda pacing: str(pacing["pacing"]))
def test_nothing_comes_before_the_pacing_lets_it(pacing: dict[str, Any], tmp_path: Path) -> None:
    """Without buckets in the way, a sample's rank is within the competence at its time, unless the pool has run dry."""
    samples, duration = 4000, 0.4
    folder = write_scores(tmp_path, np.arange(samples)[::-1])
    plan = curriculum_plan(end_token=int(duration * samples * LENGTH), buckets=1000, **pacing)
    ranks = samples - 1 - paced(folder, samples, samples, plan).draws(0, samples)

    limits = np.array([competence(plan, draw * LENGTH) for draw in range(samples)]) * samples
    dry = np.arange(samples) >= limits - 4  # what may be drawn is drawn; then the next ranks come
    assert (ranks[~dry] < limits[~dry] + samples // plan.buckets).all()
    assert (ranks[dry] <= np.arange(samples)[dry] + 8 + samples // plan.buckets).all() or (limits[dry] == samples).any()


def test_early_samples_are_easier_than_late_ones(tmp_path: Path) -> None:
    """The mean rank of what is drawn rises all along the pass; hard to easy is its mirror image."""
    samples = 20_000
    folder = write_scores(tmp_path, np.arange(samples))
    end = int(0.8 * samples * LENGTH)
    up = paced(folder, samples, samples, curriculum_plan(end_token=end)).draws(0, samples)
    down = paced(folder, samples, samples, curriculum_plan(end_token=end, order="hard_to_easy")).draws(0, samples)

    means = [float(part.mean()) / samples for part in np.array_split(up, 8)]
    assert means == sorted(means)
    assert means[0] < 0.2
    assert means[-1] > 0.7
    assert np.array_equal(down, samples - 1 - up)


def test_what_may_be_drawn_is_drawn_evenly(tmp_path: Path) -> None:
    """Two stages: all of the easy third is equally likely early on, and none of the rest comes."""
    samples = 3000
    folder = write_scores(tmp_path, np.arange(samples))
    plan = curriculum_plan(pacing="two_stage", start=1 / 3, buckets=3, end_token=500 * LENGTH)
    first = np.concatenate([paced(folder, samples, samples, plan, seed=seed).draws(0, 60) for seed in range(50)])
    counts = np.bincount(first * 10 // 1000, minlength=10)

    assert first.max() < 1000
    # 9 degrees of freedom: 33.7 is passed by chance once in ten thousand times.
    assert ((counts - 300) ** 2 / 300).sum() < 33.7


@pytest.mark.parametrize(("share", "expected"), [(0.5, [1.0, 1.0, 0.0, 0.0]), (0.625, [1.0, 1.0, 0.5, 0.0])])
def test_a_bucket_partly_let_in_is_drawn_in_part(share: float, expected: list[float], tmp_path: Path) -> None:
    """Four buckets get shares of min(1, max(0, 4 c - b)), b from 0, of the draws."""
    samples, taken = 40_000, 1000
    folder = write_scores(tmp_path, np.arange(samples))
    plan = curriculum_plan(pacing="two_stage", start=share, buckets=4, end_token=samples * LENGTH)
    found = np.bincount(paced(folder, samples, samples, plan).draws(0, taken) * 4 // samples, minlength=4)

    # The proportion is of what is left, which moves by a draw in forty.
    assert found / taken == pytest.approx(np.array(expected) / sum(expected), abs=0.005)


def test_an_empty_pool_gives_the_next_ranks(tmp_path: Path) -> None:
    """1 % may be drawn for the whole run: order of difficulty, bucket by bucket."""
    samples = 1000
    folder = write_scores(tmp_path, np.arange(samples))
    plan = curriculum_plan(pacing="two_stage", start=0.01, buckets=100, end_token=10 * samples * LENGTH)
    found = paced(folder, samples, samples, plan).draws(0, samples)

    assert np.abs(found - np.arange(samples)).max() <= 10 + 8


def test_passes_after_the_end_are_shuffled_shard_by_shard(tmp_path: Path) -> None:
    """A second pass that begins when all may be drawn is that of a source without curriculum, with its locality."""
    samples = 500
    folder = write_scores(tmp_path, np.arange(samples))
    plan = curriculum_plan(end_token=300 * LENGTH)
    found = paced(folder, samples, 3 * samples, plan).draws(samples, 3 * samples)

    assert np.array_equal(found, ShuffledOrder("web", 3, np.array([samples]), 1 << 18).draws(samples, 3 * samples))


def test_another_future_leaves_the_past(tmp_path: Path) -> None:
    """Phases that come later, longer or with other counts, change no draw before them."""
    samples = 1200
    folder = write_scores(tmp_path, np.arange(samples))
    data = tiny_plan().data
    first = {"web": 700, "code": 100}
    futures = [({"web": 2000, "code": 1},), ({"code": 500}, {"web": 3, "code": 7}), ()]

    def draws(*future: dict[str, int]) -> list[int]:
        phases = phases_of(first, *future)
        found: list[int] = _orders(data, phases, folder, samples)["web"].draws(0, 700).tolist()
        return found

    assert draws(*futures[0]) == draws(*futures[1]) == draws(*futures[2])


def _orders(data: DataPlan, phases: tuple[PhasePlan, ...], folder: Path, samples: int) -> dict[str, SourceOrder]:
    curricula = {"web": curriculum_plan(end_token=900 * LENGTH)}
    changed = data.model_copy(update={"phases": phases, "curricula": curricula})
    shards = {"web": np.array([samples]), "code": np.array([50, 50])}
    return source_orders(changed, 7, shards, {"web": folder})


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2000), st.integers(1, 700))
def test_a_run_goes_on_from_any_place(tmp_path_factory: pytest.TempPathFactory, place: int, window: int) -> None:
    """Samples and draws so far are all the state: the rest of the run is the same from there, in windows of any size."""
    folder = write_scores(tmp_path_factory.mktemp("scores"), np.arange(1000))
    phases = phases_of({"web": 900, "code": 100}, {"web": 400, "code": 600})

    def run() -> RunOrder:
        orders = _orders(tiny_plan().data, phases, folder, 1000)
        return RunOrder(phases, orders, {"web": 0, "code": 5000})

    whole = run().start().take(2000)
    before = whole[:place]
    drawn = {"web": int((before < 5000).sum()), "code": int((before >= 5000).sum())}
    cursor, rest = run().start(place, drawn), []
    while len(part := cursor.take(window)):
        rest.append(part)

    assert np.array_equal(np.concatenate([before, *rest]), whole)


def test_the_mix_keeps_its_shares_while_its_sources_come_in_at_different_times(tmp_path: Path) -> None:
    """Difficulty over the mix moves what is drawn of each source, never how much."""
    data = tiny_plan().data
    phases = phases_of({"web": 500, "code": 500})
    plan = curriculum_plan(scope="mix", end_token=900 * LENGTH, buckets=100)
    changed = data.model_copy(update={"phases": phases, "curricula": {"code": plan, "web": plan}})
    folders = {
        "web": write_scores(tmp_path / "web", np.arange(1000)),
        "code": write_scores(tmp_path / "code", 500 + np.arange(1000)),
    }
    shards = {"web": np.array([1000]), "code": np.array([1000])}
    orders = source_orders(changed, 7, shards, folders)
    first = {name: order.draws(0, 20) for name, order in orders.items()}
    ids = RunOrder(phases, orders, {"web": 0, "code": 5000}).start().take(1000)

    assert [int((part >= 5000).sum()) for part in np.split(ids, 10)] == [50] * 10
    # While little may be drawn of the mix, that is web's easy half; code, all of it harder, comes by rank.
    assert first["code"].max() < 20 + 10 + 8
    assert first["web"].max() > 100


def test_the_control_paces_what_chance_ranks(tmp_path: Path) -> None:
    """The random order needs no scores, draws each sample once, and doesn't rise."""
    data = tiny_plan().data
    plan = curriculum_plan(order="random", end_token=800 * LENGTH)
    phases = phases_of({"web": 1000})
    changed = data.model_copy(update={"phases": phases, "curricula": {"web": plan}})
    found = source_orders(changed, 7, {"web": np.array([1000])}, {})["web"].draws(0, 1000)

    assert sorted(found.tolist()) == list(range(1000))
    assert abs(float(found[:500].mean()) - 500) < 60


def test_a_hundred_million_samples_start_in_a_second() -> None:
    """From the middle of the curriculum, in memory for its table of 1,600 pieces."""
    samples = 10**8
    plan = curriculum_plan(end_token=samples * LENGTH)
    phases = phases_of({"web": samples})
    begin = time.perf_counter()
    order = PacedOrder(
        "web", 1, plan, ChanceRanking(samples, 1, "web"), Pool(samples), Timeline.of(phases, "web"),
        later=ShuffledOrder("web", 1, np.array([10]), 4),
    )  # fmt: skip
    found = order.draws(5 * 10**7, 5 * 10**7 + 10_000)

    assert time.perf_counter() - begin < 2
    assert len(set(found.tolist())) == 10_000


def test_it_is_the_same_for_ever(tmp_path: Path) -> None:
    """Checkpoints count on it: an order that changed would repeat samples on resume."""
    folder = write_scores(tmp_path, np.arange(200))
    plan = curriculum_plan(end_token=150 * LENGTH)

    assert paced(folder, 200, 200, plan).draws(20, 30).tolist() == [25, 45, 75, 34, 44, 74, 24, 79, 50, 38]
