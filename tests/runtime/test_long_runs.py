"""Start-up and memory of runs of any length, with an index of shards that aren't there."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from runtime.order.run_order import RunOrder
from runtime.order.shuffled import ShuffledOrder
from tests.runtime.order.phases import phases_of
from tests.runtime.training_case import LENGTH, VOCAB, plan_of

_MB = 1 << 20


@pytest.mark.parametrize("start", [0, 7, 1_220_703_125])
def test_ten_trillion_tokens_start_anywhere_in_bounded_memory(start: int) -> None:
    """2.4e9 samples of 4,096 tokens from 25 sources of 1e8 samples: windows and blocks are made, not the run."""
    counts = {f"source{i:02d}": 97_656_249 + 2 * i for i in range(25)}
    orders = {name: ShuffledOrder(name, 1, np.full(12_208, 8192), 1 << 18) for name in counts}
    tracemalloc.start()
    began = time.perf_counter()
    try:
        order = RunOrder(phases_of(counts), orders, {name: i * 10**8 for i, name in enumerate(counts)})
        drawn = {name: start * count // order.samples for name, count in counts.items()}
        drawn["source00"] += start - sum(drawn.values())
        windows = order.start(start, drawn).windows(512, 1 << 13)
        first = [next(windows) for _ in range(2)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert order.samples > 2_441_000_000
    assert len(np.unique(np.concatenate(first))) == 2 * (1 << 13)
    assert peak < 300 * _MB
    # 1.5 s on an idle core.
    assert time.perf_counter() - began < 60


def test_the_order_needs_no_more_memory_for_a_longer_run() -> None:
    """A hundred times the samples: the peak grows by the list of shards, 50 bytes each, not by the samples."""
    peaks = []
    for samples in (10**6, 10**8):
        shards = np.full(samples // 8192, 8192)
        tracemalloc.start()
        orders = {name: ShuffledOrder(name, 1, shards, 1 << 14) for name in ("a", "b")}
        order = RunOrder(phases_of({"a": samples - 1, "b": samples // 2}), orders, {"a": 0, "b": 10**10})
        windows = order.start().windows(8, 1 << 12)
        made = [len(next(windows)) for _ in range(3)]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sum(made) == 3 * (1 << 12)
    assert peaks[1] < peaks[0] + 12_207 * 2 * 100


def _write_index(folder: Path, samples: int, per_shard: int) -> None:
    folder.mkdir(parents=True)
    shards = [
        {
            "column_encodings": [f"ndarray:uint16:{LENGTH}"], "column_names": ["tokens"], "column_sizes": [LENGTH * 2],
            "compression": None, "format": "mds", "hashes": ["sha1"], "samples": per_shard, "size_limit": 1 << 26,
            "raw_data": {"basename": f"shard.{i:05d}.mds", "bytes": 4 + per_shard * (LENGTH * 2 + 4), "hashes": {"sha1": "0"}},
            "version": 2, "zip_data": None,
        }
        for i in range(samples // per_shard)
    ]  # fmt: skip
    (folder / "index.json").write_text(json.dumps({"shards": shards, "version": 2}))


def test_the_dataset_opens_a_hundred_million_samples_in_bounded_memory(tmp_path: Path) -> None:
    """Streaming's own table of samples alone would take 800 MB; 1 KB a shard and the first windows are enough."""
    from runtime import compat
    from runtime.data.planned_dataset import PlannedDataset
    from runtime.data.ranges import SampleRange, SourceData

    plan = plan_of(10)
    sources = []
    for name in ("code", "prose"):
        _write_index(tmp_path / name, 50_000_000, 8000)
        sources.append(SourceData(name, "tokens", SampleRange(None, str(tmp_path / name), 0, 50_000_000), None))
    tracemalloc.start()
    try:
        with compat.private_shared_memory(tmp_path, leads=True):
            dataset = PlannedDataset(plan.data, plan.seed, sources, global_batch=8, vocab_size=VOCAB)
        ids = dataset.order.start().take(80)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert dataset.num_samples == 100_000_000
    assert np.bincount(ids // 50_000_000).tolist() == [60, 20]
    assert peak < 150 * _MB
