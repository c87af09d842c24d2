"""The planned dataset over real shards: the plan's order out of a real loader, and errors that name the shard."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.errors import DataError
from tests.runtime.training_case import LENGTH, SIZES, VOCAB, plan_of, prepared


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
    from runtime.data.planned_dataset import PlannedDataset
    from runtime.data.ranges import SampleRange, SourceData

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
    samples = [dataset[int(i)] for i in dataset.order.start().take(80)]
    assert Counter(source for _, source in samples) == {0: 60, 1: 20}
    heldout = sources[1].heldout
    assert heldout is not None
    assert dataset[dataset.id_of(heldout)][1] == -1
    return dataset, [(tokens.tolist(), source) for tokens, source in samples]


def test_too_many_epochs_are_refused_with_numbers(tmp_path: Path) -> None:
    """A source drawn beyond max_epochs stops the run before it begins, and says what would do."""
    from runtime.data.planned_dataset import check_draws
    from runtime.data.ranges import SampleRange, SourceData

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

    from runtime.data.planned_dataset import collate
    from runtime.fetching.worker_errors import BadSampleError

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
    from runtime.data.planned_dataset import PlannedDataset, collate
    from runtime.data.ranges import SampleRange, SourceData
    from runtime.fetching.worker_errors import BadSampleError

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
        assert fed == [int(i) if i < SIZES["code"] else int(i) - SIZES["code"] for i in dataset.order.start().take(80)]
