"""What stock Streaming draws for a mix that changes over time, beside the planned dataset, on the same MDS data.

    python -m benchmarks.stock_mixing [--write]        --write puts the tables into docs/data-order.md

No source is exhausted by any of these runs, so that every sample could be fresh. Counted are samples drawn again while
their source had unread ones, and how far each source is from its share at the worst moment and at the ends of the phases.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from streaming import MDSWriter, Stream, StreamingDataset
from streaming.base.batching import generate_work
from streaming.base.util import clean_stale_shared_memory
from streaming.base.world import World

from runtime.order.run_order import RunOrder, worker_batches
from runtime.order.shuffled import ShuffledOrder
from schemas.plan import PhasePlan

__all__ = ["Drawn", "judge", "main", "measure", "write_sources"]

_PAGE: Final = Path(__file__).parent.parent / "docs" / "data-order.md"
_MARKS: Final = ("<!-- stock: python -m benchmarks.stock_mixing --write -->", "<!-- end of stock -->")
_SIZES: Final = {"web": 6000, "code": 3000, "math": 1500}
_BATCH: Final = 32
_SEED: Final = 9176
"""Streaming's default `shuffle_seed`."""
_BLOCK: Final = 2048

Ids = NDArray[np.int64]
Mix = dict[str, float]

_SWITCHES: Final[tuple[tuple[int, Mix], ...]] = (
    (4096, {"web": 0.70, "code": 0.27, "math": 0.03}),
    (2464, {"web": 0.50, "code": 0.40, "math": 0.10}),
    (1632, {"web": 0.25, "code": 0.45, "math": 0.30}),
)
"""Samples of each phase, whole batches, and its mix; 8,192 samples, 57 to 94 % of each source."""


@dataclass(frozen=True)
class Drawn:
    """A run: ids of its samples, in order, and what they should have been.

    Args:
        ids: sources one after another, in order of names as above, [samples].
        phases: samples of each phase with the mix that was wanted there.
    """

    name: str
    ids: Ids
    phases: Sequence[tuple[int, Mix]]


@dataclass(frozen=True)
class Judgement:
    """What came of a run; errors are in samples of the source that is furthest from its share."""

    samples: int
    repeated: int
    unique: int
    worst_prefix: float
    worst_end: float


def judge(run: Drawn) -> Judgement:
    """Repeats, and distance from the ideal shares, phase by phase."""
    edges = np.cumsum([0, *_SIZES.values()])
    sources = np.searchsorted(edges, run.ids, side="right") - 1
    repeated, prefix, end, start = 0, 0.0, 0.0, 0
    seen: list[set[int]] = [set() for _ in _SIZES]
    for sample, source in zip(run.ids.tolist(), sources.tolist(), strict=True):
        repeated += sample in seen[source] and len(seen[source]) < list(_SIZES.values())[source]
        seen[source].add(sample)
    for samples, mix in run.phases:
        phase = sources[start : start + samples]
        start += samples
        for number, name in enumerate(_SIZES):
            error = np.abs(np.cumsum(phase == number) - np.arange(1, samples + 1) * mix[name])
            prefix, end = max(prefix, float(error.max())), max(end, float(error[-1]))
    return Judgement(len(run.ids), repeated, sum(map(len, seen)), prefix, end)


def write_sources(folder: Path) -> None:
    """Shards of some 250 samples that hold their own id."""
    first = 0
    for name, size in _SIZES.items():
        with MDSWriter(columns={"id": "int"}, out=str(folder / name), size_limit=3200) as writer:
            for i in range(size):
                writer.write({"id": first + i})
        first += size


def _shards(folder: Path, name: str) -> Ids:
    index = json.loads((folder / name / "index.json").read_text(encoding="utf-8"))
    return np.array([shard["samples"] for shard in index["shards"]], np.int64)


def _stock(folder: Path, mix: Mix, samples: int, **options: Any) -> StreamingDataset:
    """Streaming's dataset for a proportion mix, as its documentation has it."""
    clean_stale_shared_memory()
    streams = [Stream(local=str(folder / name), proportion=mix[name]) for name in _SIZES]
    options = {"shuffle_seed": _SEED, **options}
    return StreamingDataset(streams=streams, epoch_size=samples, batch_size=_BATCH, shuffle=True, **options)


def _read(dataset: StreamingDataset, epochs: int = 1) -> Ids:
    """What one rank without workers is given."""
    return np.array([sample["id"] for _ in range(epochs) for sample in dataset], np.int64)


def _rebuilt(folder: Path, phases: Sequence[tuple[int, Mix]], seeds: Callable[[int], int]) -> Ids:
    """A new dataset at each switch, which begins with epoch 0."""
    parts = [
        _read(_stock(folder, mix, samples, shuffle_seed=seeds(number))) for number, (samples, mix) in enumerate(phases)
    ]
    return np.concatenate(parts)


def _plan(phases: Sequence[tuple[int, Mix]]) -> list[PhasePlan]:
    """Phases with exact counts: the parts of samples that shares leave are carried to the next phase."""
    made, owed = [], dict.fromkeys(_SIZES, 0.0)
    for number, (samples, mix) in enumerate(phases):
        ideal = {name: samples * mix[name] + owed[name] for name in _SIZES}
        counts = {name: int(ideal[name]) for name in _SIZES}
        for name in sorted(_SIZES, key=lambda name: counts[name] - ideal[name])[: samples - sum(counts.values())]:
            counts[name] += 1
        owed = {name: ideal[name] - counts[name] for name in _SIZES}
        shares = {name: {"samples": count, "tokens": count} for name, count in counts.items()}
        made.append(PhasePlan.model_validate({"id": f"p{number}", "start_token": 0, "end_token": 0, "sources": shares}))
    return made


def _planned(folder: Path, phases: Sequence[tuple[int, Mix]]) -> RunOrder:
    first = dict(zip(_SIZES, np.cumsum([0, *_SIZES.values()]).tolist(), strict=False))
    orders = {name: ShuffledOrder(name, _SEED, _shards(folder, name), _BLOCK) for name in _SIZES}
    return RunOrder(_plan(phases), orders, first)


def _ramp(pieces: int) -> list[tuple[int, Mix]]:
    """From the first mix to the last over the whole run, in pieces of whole batches."""
    first, last = _SWITCHES[0][1], _SWITCHES[-1][1]
    edges = [round(sum(n for n, _ in _SWITCHES) / _BATCH * i / pieces) * _BATCH for i in range(pieces + 1)]
    middles = [(2 * i + 1) / (2 * pieces) for i in range(pieces)]
    return [
        (stop - start, {name: first[name] + (last[name] - first[name]) * at for name in _SIZES})
        for start, stop, at in zip(edges, edges[1:], middles, strict=False)
    ]


def measure(folder: Path) -> list[Drawn]:
    """All runs of the table over sources in `folder`."""
    total = sum(samples for samples, _ in _SWITCHES)
    mean = {name: sum(n * mix[name] for n, mix in _SWITCHES) / total for name in _SIZES}
    constant, epochs, ramp = [(total, mean)], 8, _ramp(16)
    in_epochs = [(total // epochs, mean)] * epochs
    stratified = _read(_stock(folder, mean, total // epochs, batching_method="stratified"), epochs)
    # Its epochs are shorter: batches for which a stream has too few samples left are dropped.
    shorter = [(len(stratified) // epochs, mean)] * epochs
    return [
        Drawn("constant mix by `proportion`, one epoch", _read(_stock(folder, mean, total)), constant),
        Drawn(
            "constant mix, 8 epochs by `epoch_size`", _read(_stock(folder, mean, total // epochs), epochs), in_epochs
        ),
        Drawn(f"the same, stratified: {len(stratified):,} samples", stratified, shorter),
        Drawn("planned, constant mix", _planned(folder, constant).start().take(total), constant),
        Drawn("3 mixes, rebuilt at each switch", _rebuilt(folder, _SWITCHES, lambda _: _SEED), _SWITCHES),
        Drawn("the same, another `shuffle_seed` each", _rebuilt(folder, _SWITCHES, lambda i: _SEED + i), _SWITCHES),
        Drawn("planned, 3 mixes", _planned(folder, _SWITCHES).start().take(total), _SWITCHES),
        Drawn("ramp in 16 mixes, rebuilt at each", _rebuilt(folder, ramp, lambda _: _SEED), ramp),
        Drawn("planned, ramp in 16 pieces", _planned(folder, ramp).start().take(total), ramp),
    ]


def _global_order(parts: Ids) -> Ids:
    """Samples of an epoch in the order of training, of an array [nodes, ranks, workers, batches, samples]."""
    nodes, ranks, workers, batches, size = parts.shape
    # A rank's workers are asked in turn; a global batch is what all ranks are given at the same time.
    return parts.transpose(3, 2, 0, 1, 4).reshape(batches * workers, nodes * ranks * size).reshape(-1)


@dataclass(frozen=True)
class Resumed:
    """Whether the same samples come in the same order, for one way to go on."""

    name: str
    stock: str
    planned: str


def _elastic(folder: Path) -> list[Resumed]:
    """One node of two ranks as the reference; the run goes on, or starts, on other machines."""
    total, half = 4096, 2048
    ways = [
        ("resumed on 8 ranks, 2 workers each", (1, 8, 2), half),
        ("resumed on 2 nodes of 4 ranks", (2, 4, 1), half),
        ("started on 2 nodes of 4 ranks", (2, 4, 1), 0),
    ]
    found = []
    order = _planned(folder, [(total, _SWITCHES[0][1])])
    expected = order.start().take(total)
    for name, (nodes, ranks, workers), start in ways:
        reference = _stock(folder, _SWITCHES[0][1], total)
        whole = _stock_order(reference, (1, 2, 1), 0)
        there = _stock(folder, _SWITCHES[0][1], total)
        if start:  # what a checkpoint brings along
            there.num_canonical_nodes, there.initial_physical_nodes = reference.num_canonical_nodes, 1
        stock = _stock_order(there, (nodes, ranks, workers), start)
        planned = _planned_order(order, start, nodes * ranks, workers)
        found.append(Resumed(name, _same(whole[start:], stock), _same(expected[start:], planned)))
    return found


def _stock_order(dataset: StreamingDataset, shape: tuple[int, int, int], start: int) -> Ids:
    nodes, ranks, workers = shape
    world = World(nodes, ranks, workers, 0)
    dataset.num_canonical_nodes = dataset.num_canonical_nodes or nodes  # as Streaming decides for its default shuffle
    dataset.batch_size = _BATCH // (nodes * ranks)
    dataset._set_shuffle_block_size(world)
    return _global_order(generate_work("random", dataset, world, 0, start))


def _planned_order(order: RunOrder, start: int, ranks: int, workers: int) -> Ids:
    window = order.start(start).take(order.samples)
    queues = np.stack([
        np.stack([
            worker_batches(window, first=0, batch=_BATCH, rank=rank, ranks=ranks, worker=worker, workers=workers)
            for worker in range(workers)
        ])
        for rank in range(ranks)
    ])  # fmt: skip
    return _global_order(queues.reshape(1, ranks, workers, -1, _BATCH // ranks))


def _same(expected: Ids, found: Ids) -> str:
    """Batch by batch; within a batch the order of samples doesn't matter to training."""
    if np.array_equal(expected, found):
        return "same batches"
    if np.array_equal(np.sort(expected.reshape(-1, _BATCH)), np.sort(found.reshape(-1, _BATCH))):
        return "same batches, in another order within them"
    other = len(set(expected.tolist()) - set(found.tolist()))
    return f"other batches, {other:,} other samples" if other else "other batches of the same samples"


def table(runs: Sequence[Drawn], resumed: Sequence[Resumed]) -> str:
    """Both tables as Markdown."""
    lines = [
        "| 8,192 samples | drawn again too early | | different samples | worst prefix | worst end of a phase |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for run in runs:
        found = judge(run)
        share = 100 * found.repeated / found.samples
        cells = (
            run.name, f"{found.repeated:,}", f"{share:.1f} %", f"{found.unique:,}", f"{found.worst_prefix:.1f}",
            f"{found.worst_end:.1f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| begun on 1 node of 2 ranks, at the same global batch | stock | planned |", "|---|---|---|"]
    lines += [f"| {way.name} | {way.stock} | {way.planned} |" for way in resumed]
    return "\n".join(lines)


def main() -> int:
    """Print the tables, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_sources(Path(name))
        text = table(measure(Path(name)), _elastic(Path(name)))
    print(text)
    if options.write:
        page = _PAGE.read_text(encoding="utf-8")
        begin, end = page.index(_MARKS[0]) + len(_MARKS[0]), page.index(_MARKS[1])
        _PAGE.write_text(f"{page[:begin]}\n{text}\n{page[end:]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
