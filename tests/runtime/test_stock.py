"""Stock Streaming beside the planned dataset, on the same shards: what it draws of a changing mix, and how fast it reads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import stock_mixing
from tests.runtime.elastic import plan_of

SIZES = {"web": 3000, "code": 1000}
LENGTH = 64


@pytest.mark.filterwarnings("ignore:Because of the `stratified`:UserWarning")
def test_a_mix_that_changes_repeats_nothing_where_stock_mixing_does(tmp_path: Path) -> None:
    """The table of docs/data-order.md: no source is exhausted; planned runs repeat nothing, rebuilt datasets a fifth."""
    stock_mixing.write_sources(tmp_path)
    runs = stock_mixing.measure(tmp_path)
    found = {run.name: stock_mixing.judge(run) for run in runs}
    planned = [judged for name, judged in found.items() if "planned" in name]
    rebuilt = [judged for name, judged in found.items() if "rebuilt" in name]
    assert (len(planned), len(rebuilt)) == (3, 2)
    assert [(judged.repeated, judged.unique) for judged in planned] == [(0, 8192)] * 3
    # Less than one sample from the plan's shares, which are less than one from those that were asked for.
    assert all(judged.worst_prefix < 2 and judged.worst_end <= 1 for judged in planned)
    assert all(judged.repeated > judged.samples / 5 for judged in rebuilt)
    page = (Path(__file__).parents[2] / "docs" / "data-order.md").read_text(encoding="utf-8")
    for line in stock_mixing.table(runs, []).splitlines():
        assert "planned" not in line or line in page


def test_the_loader_keeps_up_with_a_stock_dataset(tmp_path: Path) -> None:
    """(g): samples/s from opening the dataset to the last batch; benchmarks/data_loader.py measures it at full size."""
    from streaming import MDSWriter, Stream, StreamingDataset

    from runtime import compat
    from runtime.data.planned_dataset import PlannedDataset, collate
    from runtime.data.ranges import SampleRange, SourceData

    for name, size in SIZES.items():
        columns = {"tokens": f"ndarray:uint16:{LENGTH}"}
        with MDSWriter(columns=columns, out=str(tmp_path / name), size_limit=1 << 16) as writer:
            for i in range(size):
                writer.write({"tokens": np.full(LENGTH, i % 512, np.uint16)})

    def planned() -> Any:
        ranges = {name: SampleRange(None, str(tmp_path / name), 0, size) for name, size in SIZES.items()}
        sources = [SourceData(name, "tokens", place, None) for name, place in ranges.items()]
        plan = plan_of([SIZES], SIZES)
        return PlannedDataset(plan.data, plan.seed, sources, global_batch=8, vocab_size=512)

    def stock() -> Any:
        streams = [Stream(local=str(tmp_path / name)) for name in SIZES]
        return StreamingDataset(streams=streams, batch_size=8, shuffle=True)

    def stacked(samples: list[dict[str, Any]]) -> Any:
        return {"input_ids": np.stack([sample["tokens"] for sample in samples])}

    ratios = []
    for number in range(3):  # in turns, so that what else the machine does hits both alike
        ways: dict[str, Callable[[], float]] = {
            "planned": lambda: _seconds(tmp_path / "planned", planned, collate, compat),
            "stock": lambda: _seconds(tmp_path / "stock", stock, stacked, compat),
        }
        times = {name: ways[name]() for name in sorted(ways, reverse=bool(number % 2))}
        ratios.append(times["stock"] / times["planned"])
    assert statistics.median(ratios) >= 1, ratios


def _seconds(run: Path, make: Callable[[], Any], collate: Callable[[Any], Any], compat: Any) -> float:
    from torch.utils.data import DataLoader

    began = time.perf_counter()
    with compat.private_shared_memory(run, leads=True):
        dataset = make()
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=8, collate_fn=collate)
    assert sum(len(batch["input_ids"]) for batch in loader) == sum(SIZES.values())
    return time.perf_counter() - began
