"""The order of a run: exact phases, no early repeats across them, the same from any place, for any ranks and workers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.order.base import Ids
from runtime.order.run_order import RunOrder, worker_batches
from tests.runtime.order.phases import PHASES, SAMPLES, order_of, phases_of

_RUNS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 40), min_size=1).filter(
        lambda counts: any(counts.values())
    ),
    min_size=1,
    max_size=6,
)
_SIZES = st.fixed_dictionaries({name: st.integers(1, 50) for name in "abcd"})


def _whole(order: RunOrder) -> Ids:
    return order.start().take(order.samples)


def _numbers(ids: Ids, order: RunOrder, name: str) -> Ids:
    """Sample numbers of one source, in the order of its draws."""
    if name not in order.names:
        return np.empty(0, np.int64)
    offset = order.offsets[order.names.index(name)]
    found: Ids = ids[ids // 1_000_000 == offset // 1_000_000] - offset
    return found


@settings(max_examples=60, deadline=None)
@given(_RUNS, _SIZES)
def test_each_phase_draws_exactly_what_is_planned(runs: list[dict[str, int]], sizes: dict[str, int]) -> None:
    """Per phase and source the planned number of samples, and at every prefix less than one sample off the share."""
    order = order_of(phases_of(*runs), sizes)
    ids, start = _whole(order), 0
    for counts in runs:
        total = sum(counts.values())
        part = ids[start : start + total]
        for name in order.names:
            offset = order.offsets[order.names.index(name)]
            placed = np.cumsum(part // 1_000_000 == offset // 1_000_000)
            count = counts.get(name, 0)
            assert placed[-1] == count
            assert np.abs(placed * total - np.arange(1, total + 1) * count).max() < total
        start += total


@settings(max_examples=60, deadline=None)
@given(_RUNS, _SIZES)
def test_no_sample_again_before_all_across_phases(runs: list[dict[str, int]], sizes: dict[str, int]) -> None:
    """However phases cut a source's draws, they are permutation after permutation of its samples."""
    order = order_of(phases_of(*runs), sizes)
    ids = _whole(order)
    for name, size in sizes.items():
        drawn = _numbers(ids, order, name)
        for start in range(0, len(drawn), size):
            part = drawn[start : start + size].tolist()
            assert len(set(part)) == len(part)
            assert set(part) <= set(range(size))


@settings(max_examples=40, deadline=None)
@given(_RUNS, _SIZES, st.data())
def test_a_resume_goes_on_with_the_same_sequence(
    runs: list[dict[str, int]], sizes: dict[str, int], data: st.DataObject
) -> None:
    """From any place, with the draws of a checkpoint or without, and in windows of any size."""
    order = order_of(phases_of(*runs), sizes)
    ids = _whole(order)
    place = data.draw(st.integers(0, len(ids)))
    counted = order.start(place)
    drawn = counted.drawn
    assert sum(drawn.values()) == counted.samples == place
    assert {name: len(_numbers(ids[:place], order, name)) for name in order.names} == drawn
    assert np.array_equal(counted.take(len(ids)), ids[place:])
    batch, size = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 40))
    again = order_of(phases_of(*runs), sizes).start(place, drawn)
    windows = list(again.windows(batch, size))
    assert np.array_equal(np.concatenate([*windows, ids[:0]]), ids[place:])
    assert all(len(window) % batch == 0 for window in windows[:-1])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_future_replays_nothing(data: st.DataObject) -> None:
    """A run that goes on with other phases from within one: no early repeat in past and future together, exact totals."""
    sizes = {"a": data.draw(st.integers(5, 60)), "b": data.draw(st.integers(5, 60)), "c": data.draw(st.integers(5, 60))}
    past = {"a": 40, "b": 24, "c": 16}
    place = data.draw(st.integers(0, 80))
    before = order_of(phases_of(past, {"a": 30, "b": 10}), sizes)
    drawn = before.start(place).drawn
    # The same shares as far as the run has come, then others; cut at a multiple of what the mix repeats.
    cut = min(80, -(-place // 10) * 10)
    now = {"a": cut // 2, "b": cut * 3 // 10, "c": cut // 5}
    later = {"a": data.draw(st.integers(1, 50)), "c": data.draw(st.integers(0, 50))}
    phases = phases_of(now, later) if cut else phases_of(later)
    after = order_of(phases, sizes)
    ids = np.concatenate([_whole(before)[:place], after.start(place, drawn).take(after.samples)])
    assert len(ids) == after.samples
    for name, size in sizes.items():
        numbers = _numbers(ids, after, name)
        assert len(numbers) == sum(phase.sources[name].samples for phase in phases if name in phase.sources)
        for start in range(0, len(numbers), size):
            part = numbers[start : start + size].tolist()
            assert len(set(part)) == len(part)


def test_another_seed_or_source_changes_only_what_it_must() -> None:
    """A seed changes the order; a source that is added and not drawn leaves the order as it was."""
    first = PHASES[:1]
    alone = _whole(order_of(first, {"code": 17, "web": 10}))
    assert not np.array_equal(alone, _whole(order_of(first, {"code": 17, "web": 10}, seed=6)))
    beside = _whole(order_of(first, {"code": 17, "web": 10, "zoo": 3}))
    assert np.array_equal(alone, beside)


def test_places_that_the_run_does_not_have_are_refused() -> None:
    """Draws that don't add up to the place mean that the books are wrong: going on would replay or skip."""
    order = order_of(PHASES, SAMPLES)
    with pytest.raises(ValueError, match="no place 65"):
        order.start(65)
    with pytest.raises(ValueError, match="are not 20 samples of code, math, web"):
        order.start(20, {"web": 9, "code": 10})


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("start", [0, 24])
@pytest.mark.parametrize("size", [8, 24, 1000])
def test_global_batches_are_the_same_for_any_ranks_and_workers(ranks: int, workers: int, start: int, size: int) -> None:
    """What all loaders of all ranks feed together as batch k is samples 8k to 8k + 8 of the run, also after a resume."""
    order = order_of(PHASES, SAMPLES)
    fed: list[Ids] = []
    for rank in range(ranks):
        queues = []
        for worker in range(workers):
            first, parts = 0, []
            for window in order.start(start).windows(8, size):
                parts.append(
                    worker_batches(window, first=first, batch=8, rank=rank, ranks=ranks, worker=worker, workers=workers)
                )
                first += len(window) // 8
            queues.append(np.concatenate(parts).reshape(-1, 8 // ranks))
        # torch's DataLoader takes batches from its workers in turn.
        batches = sum(len(queue) for queue in queues)
        fed.append(np.stack([queues[k % workers][k // workers] for k in range(batches)]))
    assert np.array_equal(np.concatenate(fed, axis=1).reshape(-1), _whole(order)[start:])


def test_phases_count_their_own_samples() -> None:
    """The example of the documentation: 32 samples each, from each source's own range of ids."""
    order = order_of(PHASES, SAMPLES)
    kinds = _whole(order) // 1_000_000
    assert (Counter(kinds[:32].tolist()), Counter(kinds[32:].tolist())) == (
        Counter({2: 21, 0: 11}),
        Counter({2: 5, 0: 26, 1: 1}),
    )
