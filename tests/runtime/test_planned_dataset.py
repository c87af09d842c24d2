"""Order of samples: exact draws, even mixing, no early repeats, the same for any number of ranks and workers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.order import Ids, draws, interleave, run_order, worker_batches
from runtime.errors import DataError
from schemas.plan import PhasePlan
from tests.runtime.training_case import LENGTH, SIZES, VOCAB, plan_of, prepared

PHASES = tuple(
    PhasePlan.model_validate({"id": f"p{i}", "start_token": 0, "end_token": 0, "sources": sources})
    for i, sources in enumerate(
        [
            {"web": {"samples": 21, "tokens": 0}, "code": {"samples": 11, "tokens": 0}},
            {
                "web": {"samples": 5, "tokens": 0},
                "code": {"samples": 26, "tokens": 0},
                "math": {"samples": 1, "tokens": 0},
            },
        ]
    )
)
SAMPLES, OFFSETS = {"web": 10, "code": 17, "math": 3}, {"web": 100, "code": 200, "math": 300}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 120), min_size=1, max_size=9).filter(any))
def test_every_prefix_holds_each_source_share_within_one_sample(counts: list[int]) -> None:
    """After any number of samples, no source is a whole sample ahead of or behind its share."""
    turns = interleave(counts)
    total = sum(counts)
    assert np.bincount(turns, minlength=len(counts)).tolist() == counts
    placed = np.cumsum(turns[:, None] == np.arange(len(counts)), axis=0)
    ideal = np.arange(1, total + 1)[:, None] * np.array(counts) / total
    assert np.abs(placed - ideal).max() < 1


def test_many_small_sources_do_not_come_all_at_once() -> None:
    """One large source with a hundred tiny ones: sorting by midpoints would bunch the tiny ones; here they are spread."""
    counts = [900] + [1] * 100
    placed = np.cumsum(interleave(counts) == 0)
    assert np.abs(placed - np.arange(1, 1001) * 0.9).max() < 1


def test_no_sample_is_drawn_again_before_all_were_drawn() -> None:
    """Draws are permutation after permutation, also where the draws of a later phase begin within one."""
    whole = draws("web", 3, 10, 0, 35)
    assert [sorted(whole[i : i + 10]) for i in (0, 10, 20)] == [list(range(10))] * 3
    assert not np.array_equal(whole[:10], whole[10:20])
    assert np.array_equal(np.concatenate([draws("web", 3, 10, 0, 7), draws("web", 3, 10, 7, 24)]), whole[:24])


def test_the_order_of_a_source_is_frozen() -> None:
    """The same in every version of numpy: a changed order would replay samples of a run that is resumed after an update."""
    assert draws("web", 3, 10, 0, 10).tolist() == [8, 1, 6, 3, 7, 5, 0, 4, 2, 9]


def test_order_draws_each_phase_exactly() -> None:
    """Per phase and source, as many samples as planned, from the source's own range of ids."""
    order = run_order(PHASES, 5, SAMPLES, OFFSETS)
    first, second = Counter((order[:32] // 100).tolist()), Counter((order[32:] // 100).tolist())
    assert (first, second) == (Counter({1: 21, 2: 11}), Counter({1: 5, 2: 26, 3: 1}))
    web = order[order // 100 == 1] - 100
    assert sorted(web[:10]) == sorted(web[10:20]) == list(range(10))


def test_another_seed_or_source_changes_only_what_it_must() -> None:
    """A seed changes the order; a source that is added leaves the others' own order as it was."""
    assert not np.array_equal(draws("web", 3, 50, 0, 50), draws("web", 4, 50, 0, 50))
    alone = run_order(PHASES[:1], 5, {"web": 10, "code": 17}, OFFSETS)
    beside = run_order(PHASES[:1], 5, SAMPLES, OFFSETS)
    assert np.array_equal(alone, beside)


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 24])
def test_global_batches_are_the_same_for_any_ranks_and_workers(ranks: int, workers: int, start: int) -> None:
    """What all loaders of all ranks feed together as batch k is order[8k : 8k + 8], also after a resume."""
    order = run_order(PHASES, 5, SAMPLES, OFFSETS)
    size = 8 // ranks
    fed: list[Ids] = []
    for rank in range(ranks):
        queues = [
            worker_batches(order, start=start, batch=8, rank=rank, ranks=ranks, worker=w, workers=workers).reshape(
                -1, size
            )
            for w in range(workers)
        ]
        # torch's DataLoader takes batches from its workers in turn.
        batches = sum(len(queue) for queue in queues)
        fed.append(np.stack([queues[k % workers][k // workers] for k in range(batches)]))
    assert np.array_equal(np.concatenate(fed, axis=1).reshape(-1), order[start:])


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_feeds_the_planned_order_and_resumes_it(tmp_path: Path, workers: int) -> None:
    """A real DataLoader over real shards gives the planned samples with their sources, from any batch on."""
    from torch.utils.data import DataLoader

    from runtime.data.planned_dataset import collate

    dataset, expected = _dataset(tmp_path)

    def read() -> list[tuple[list[int], int]]:
        loader = DataLoader(dataset, batch_size=8, num_workers=workers, collate_fn=collate, drop_last=True)
        return [
            pair for batch in loader for pair in zip(batch["input_ids"].tolist(), batch["source"].tolist(), strict=True)
        ]

    assert read() == expected
    dataset.load_state_dict({"epoch": 0, "sample_in_epoch": 40, "num_canonical_nodes": 1, "shuffle_seed": 0})
    dataset.next_epoch = 0
    assert read() == expected[40:]


def _dataset(folder: Path):  # type: ignore[no-untyped-def]
    """The dataset of the tiny plan, and its samples in order, read one by one by id."""
    from runtime import compat
    from runtime.data.planned_dataset import PlannedDataset, SampleRange, SourceData

    plan, results = plan_of(10), prepared(folder)
    sources = [
        SourceData(
            name,
            "tokens",
            SampleRange(None, str(results[f"prepare-{name}"].folder / "train"), 0, size),
            SampleRange(None, str(results[f"prepare-{name}"].folder / "heldout"), 0, 7),
        )
        for name, size in SIZES.items()
    ]
    with compat.private_shared_memory(folder, leads=True):
        dataset = PlannedDataset(plan.data, plan.seed, sources, global_batch=8, vocab_size=VOCAB)
    samples = [dataset[int(i)] for i in dataset.order]
    assert Counter(source for _, source in samples) == {0: 60, 1: 20}
    heldout = sources[1].heldout
    assert heldout is not None
    assert dataset[dataset.id_of(heldout)][1] == -1
    return dataset, [(tokens.tolist(), source) for tokens, source in samples]


def test_too_many_epochs_are_refused_with_numbers(tmp_path: Path) -> None:
    """A source drawn beyond max_epochs stops the run before it begins, and says what would do."""
    from runtime.data.planned_dataset import SampleRange, SourceData, check_draws

    sources = {"code": {"builtin": "cpython-library", "max_epochs": 1.1}, "prose": {"builtin": "cpython-docs"}}
    plan = plan_of(10, data={"sources": sources})
    data = [SourceData(name, "tokens", SampleRange(None, name, 0, size), None) for name, size in SIZES.items()]
    with pytest.raises(
        DataError, match=r"has 50 samples .* draws 60, which is 1.20 epochs, and max_epochs is 1.1"
    ) as caught:
        check_draws(plan.data, data)
    assert caught.value.code == "RC405"
    assert "max_epochs: 1.2" in caught.value.remedy


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_sample_names_its_shard(tmp_path: Path, workers: int) -> None:
    """A shard that was cut after it was checked gives an error with file and sample, from a worker process too."""
    from torch.utils.data import DataLoader

    from runtime.data.planned_dataset import BadSampleError, collate

    dataset, _ = _dataset(tmp_path)
    shard = next((tmp_path / "prepare-code" / "train").glob("shard.*"))
    shard.write_bytes(shard.read_bytes()[: -20 * LENGTH * 2])
    with pytest.raises(BadSampleError) as caught:
        list(DataLoader(dataset, batch_size=8, num_workers=workers, collate_fn=collate))
    error = caught.value.error()
    assert error.code == "RC408"
    assert str(shard) in error.message


# Streaming leaves the files that it unpacks to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damaged", [False, True])
def test_remote_shards_are_fetched_checked_and_named_when_damaged(tmp_path: Path, damaged: bool) -> None:
    """Packed shards in another folder are copied and unpacked; one whose hash is wrong stops the loader with its name."""
    from streaming import MDSWriter
    from torch.utils.data import DataLoader

    from runtime import compat
    from runtime.data.planned_dataset import BadSampleError, PlannedDataset, SampleRange, SourceData, collate

    sources = []
    for name, size in SIZES.items():
        remote = tmp_path / "remote" / name
        columns = {"ids": f"ndarray:int32:{LENGTH}"}
        with MDSWriter(
            out=str(remote), columns=columns, compression="zstd", hashes=["sha1"], size_limit=4096
        ) as writer:
            for number in range(size):
                writer.write({"ids": np.full(LENGTH, number, np.int32)})
        sources.append(SourceData(name, "ids", SampleRange(str(remote), str(tmp_path / "local" / name), 0, size), None))
    if damaged:
        shard = max((tmp_path / "remote" / "prose").glob("shard.*"))
        shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    plan = plan_of(10)
    with compat.private_shared_memory(tmp_path, leads=True):
        dataset = PlannedDataset(plan.data, plan.seed, sources, global_batch=8, vocab_size=VOCAB)
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=8, collate_fn=collate, drop_last=True)
    if damaged:
        with pytest.raises(BadSampleError) as caught:
            list(loader)
        error = caught.value.error()
        assert error.code == "RC408"
        assert f"prose/{shard.name.removesuffix('.zstd')}" in error.message
        # A damaged copy must not be there when the original has been mended.
        assert not (tmp_path / "local" / "prose" / shard.name).exists()
    else:
        fed = [int(ids[0]) for batch in loader for ids in batch["input_ids"]]
        assert fed == [int(i) if i < SIZES["code"] else int(i) - SIZES["code"] for i in dataset.order]
