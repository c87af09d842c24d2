"""The planned dataset beside Streaming's own on the same shards: samples/s; start-up and memory against run length.

    python -m benchmarks.data_loader speed [--write] [--samples 200000] [--lengths 128 1024] [--workers 0 1 2] [--rounds 5]
    python -m benchmarks.data_loader scale [--write] [--runs 1e6 1e7 1e8 1e9 1e10]

--write puts the table into docs/data-order.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from schemas.plan import DataPlan

__all__ = ["main"]

_PAGE: Final = Path(__file__).parent.parent / "docs" / "data-order.md"

_SHARES: Final = {"web": 0.71, "code": 0.22, "math": 0.07}
_VOCAB: Final = 50_000
_LENGTH: Final = 4096
_SHARD_SAMPLES: Final = 8192
_LARGEST: Final = 100_000_000
"""Samples of a source at most; longer runs have more sources, 25 at most, and read them again."""


def _plan(counts: dict[str, int], length: int) -> DataPlan:
    """One phase that draws these counts."""
    tokens = sum(counts.values()) * length
    shares = {name: {"samples": count, "tokens": count * length} for name, count in counts.items()}
    phase = {"id": "phase0", "start_token": 0, "end_token": tokens, "sources": shares}
    return DataPlan.model_validate(
        {
            "sequence_length": length,
            "sources": {name: {"mds": name} for name in counts},
            "phases": [phase],
            "shuffle_block": 1 << 18,
            "curricula": {},
            "selection": {},
        }
    )


def _write(folder: Path, counts: dict[str, int], length: int) -> None:
    """Real shards of random tokens."""
    from runtime.data.shards import SampleWriter

    rng = np.random.default_rng(0)
    for name, count in counts.items():
        with SampleWriter(folder / name, dtype="uint16", sequence_length=length) as writer:
            for _ in range(count):
                writer.write(rng.integers(0, _VOCAB, length, dtype=np.uint16))


def _planned(folder: Path, drawn: dict[str, int], unique: dict[str, int], length: int, batch: int) -> Any:
    from runtime import compat
    from runtime.data.planned_dataset import PlannedDataset
    from runtime.data.ranges import SampleRange, SourceData

    sources = [
        SourceData(name, "tokens", SampleRange(None, str(folder / name), 0, count), None)
        for name, count in unique.items()
    ]
    with compat.private_shared_memory(folder, leads=True):
        return PlannedDataset(_plan(drawn, length), 1, sources, global_batch=batch, vocab_size=_VOCAB)


def _stock(folder: Path, counts: dict[str, int], batch: int) -> Any:
    from streaming import Stream, StreamingDataset

    from runtime import compat

    with compat.private_shared_memory(folder / "stock", leads=True):
        streams = [Stream(local=str(folder / name)) for name in counts]
        return StreamingDataset(streams=streams, batch_size=batch, shuffle=True, shuffle_algo="py1e", shuffle_seed=1)


def _stack(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import torch

    return {"input_ids": torch.from_numpy(np.stack([sample["tokens"] for sample in samples]).astype(np.int64))}


class _Reading(NamedTuple):
    samples_per_s: float
    cpu_microseconds: float
    """Of all processes, per sample: what a busy machine doesn't change."""


def _read(dataset: Any, batch: int, workers: int, collate: Callable[[Any], Any]) -> tuple[int, _Reading]:
    """Samples of an epoch, and what it took from the first line of the loader to the last batch."""
    from torch.utils.data import DataLoader

    began, cpu = time.perf_counter(), _cpu_seconds()
    loader: Iterable[Any] = DataLoader(dataset, batch_size=batch, num_workers=workers, collate_fn=collate)
    samples = sum(len(read["input_ids"]) for read in loader)
    seconds = time.perf_counter() - began
    return samples, _Reading(samples / seconds, (_cpu_seconds() - cpu) / samples * 1e6)


def _cpu_seconds() -> float:
    """Of this process and of its loader workers that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _speed(options: argparse.Namespace) -> Iterator[str]:
    yield "| tokens | workers | samples/s, stock | planned | ratio, median | lowest to highest | CPU µs each, stock | planned |"
    yield "|---:|---:|---:|---:|---:|---|---:|---:|"
    samples = options.samples // options.batch * options.batch  # a plan draws whole batches
    counts = {name: round(samples * share) for name, share in _SHARES.items()}
    for length in options.lengths:
        with tempfile.TemporaryDirectory(prefix="data-loader-") as name:
            _write(Path(name), counts, length)
            for workers in options.workers:
                found = _readings(Path(name), counts, length, workers, options)
                pairs = zip(found["planned"], found["stock"], strict=True)
                ratios = [ours.samples_per_s / theirs.samples_per_s for ours, theirs in pairs]
                stock, planned = (
                    [statistics.median(values) for values in zip(*found[kind], strict=True)]
                    for kind in ("stock", "planned")
                )
                yield (
                    f"| {length} | {workers} | {stock[0]:,.0f} | {planned[0]:,.0f} | {statistics.median(ratios):.2f} | "
                    f"{min(ratios):.2f} to {max(ratios):.2f} | {stock[1]:.0f} | {planned[1]:.0f} |"
                )


def _readings(
    folder: Path, counts: dict[str, int], length: int, workers: int, options: argparse.Namespace
) -> dict[str, list[_Reading]]:
    """One of each a round, in turns, so that what else the machine does hits both; each is first as often as second."""
    from runtime.data.planned_dataset import collate

    found: dict[str, list[_Reading]] = {"stock": [], "planned": []}
    collated: Callable[[Any], Any]
    for number in range(options.rounds):
        for kind in sorted(found, reverse=bool(number % 2)):
            if kind == "stock":
                dataset, collated = _stock(folder, counts, options.batch), _stack
            else:
                dataset, collated = _planned(folder, counts, counts, length, options.batch), collate
            samples, reading = _read(dataset, options.batch, workers, collated)
            if samples < sum(counts.values()) // options.batch * options.batch:
                raise SystemExit(f"{kind} gave {samples} samples of {sum(counts.values())}")
            found[kind].append(reading)
    return found


def _counts(samples: int) -> tuple[dict[str, int], dict[str, int]]:
    """Draws and unique samples of each source of a run; no common divisor, so that no short pattern repeats."""
    number = min(25, max(3, -(-samples // _LARGEST)))
    weights = np.arange(number, 0, -1) / np.arange(1, number + 1).sum()
    drawn = np.floor(weights * samples).astype(np.int64) // 2 * 2 + 1
    drawn[0] += (samples - drawn.sum()) // 8 * 8
    names = [f"source{i:02d}" for i in range(number)]
    unique = [min(_LARGEST, int(count)) for count in drawn]
    return dict(zip(names, drawn.tolist(), strict=True)), dict(zip(names, unique, strict=True))


def _write_index(folder: Path, samples: int, length: int) -> None:
    """The index of shards that aren't there."""
    folder.mkdir(parents=True)
    shards = []
    for number, begin in enumerate(range(0, samples, _SHARD_SAMPLES)):
        rows = min(_SHARD_SAMPLES, samples - begin)
        raw = {
            "basename": f"shard.{number:05d}.mds",
            "bytes": rows * (length * 2 + 4),
            "hashes": {"sha1": f"{number:040x}"},
        }
        shards.append(
            {
                "column_encodings": [f"ndarray:uint16:{length}"], "column_names": ["tokens"], "column_sizes": [length * 2],
                "compression": None, "format": "mds", "hashes": ["sha1"], "raw_data": raw, "samples": rows,
                "size_limit": 1 << 26, "version": 2, "zip_data": None,
            }
        )  # fmt: skip
    (folder / "index.json").write_text(json.dumps({"shards": shards, "version": 2}), encoding="utf-8")


def _rss() -> float:
    """Peak memory of this process in MB; Linux counts kB, macOS bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)


def _start(kind: str, samples: int, folder: Path) -> None:
    """Child: open the dataset, make the work of a worker up to its first window, and say what it took of one core."""
    from streaming import StreamingDataset

    from runtime.data import planned_dataset  # noqa: F401  # what importing takes is not counted

    batch = 8
    drawn, unique = _counts(samples)
    before, began = _rss(), time.process_time()
    if kind == "stock":
        dataset: StreamingDataset = _stock(folder, unique, batch)
    else:
        dataset = _planned(folder, drawn, unique, _LENGTH, batch)
    opened = time.process_time() - began
    dataset._unique_worker_world = dataset._unique_rank_world.detect_workers()
    dataset._parallel_worker_world = dataset._parallel_rank_world.detect_workers()
    work = dataset._get_work(*dataset._resume_incr_epoch())
    first = work[:256] if kind == "stock" else work.read(0, 256)
    assert len(first) == 256
    total = time.process_time() - began
    middle = float("nan")
    if kind == "planned":
        began = time.process_time()
        at = samples // 2 // batch * batch
        half = {name: count // 2 for name, count in drawn.items()}
        half[next(iter(half))] += at - sum(half.values())
        dataset.order.start(at, half).take(1 << 16)
        middle = time.process_time() - began
    print(json.dumps({"opened": opened, "total": total, "resume": middle, "rss": _rss() - before, "base": before}))


def _scale(options: argparse.Namespace) -> Iterator[str]:
    yield (
        "| samples of a run | sources | shards | dataset | opened, CPU s | first samples, CPU s | resume, CPU s | memory, MB |"
    )
    yield "|---:|---:|---:|---|---:|---:|---:|---:|"
    for run in options.runs:
        samples = int(float(run))
        _, unique = _counts(samples)
        shards = sum(-(-count // _SHARD_SAMPLES) for count in unique.values())
        with tempfile.TemporaryDirectory(prefix="data-loader-") as folder:
            for name, count in unique.items():
                _write_index(Path(folder, name), count, _LENGTH)
            for kind in ("stock", "planned") if samples <= float(options.stock) else ("planned",):
                command = [sys.executable, "-m", "benchmarks.data_loader", "start", kind, str(samples), folder]
                printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                found = json.loads(printed.splitlines()[-1])
                resumed = f"{found['resume']:.1f}" if kind == "planned" else ""
                yield (
                    f"| {samples:,} | {len(unique)} | {shards:,} | {kind} | {found['opened']:.1f} | {found['total']:.1f} | "
                    f"{resumed} | {found['rss']:,.0f} |"
                )


def _write_table(part: str, lines: Sequence[str]) -> None:
    """Put the lines between the part's marks on the page."""
    page, mark = _PAGE.read_text(encoding="utf-8"), f"<!-- {part}: python -m benchmarks.data_loader {part} --write -->"
    begin = page.index(mark) + len(mark)
    end = page.index(f"<!-- end of {part} -->", begin)
    _PAGE.write_text("\n".join([page[:begin], *lines, page[end:]]), encoding="utf-8")


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    speed = parts.add_parser("speed", help="samples/s on real shards")
    speed.add_argument("--samples", type=int, default=200_000)
    speed.add_argument("--lengths", type=int, nargs="+", default=[128, 1024])
    speed.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    speed.add_argument("--batch", type=int, default=32)
    speed.add_argument("--rounds", type=int, default=5)
    scale = parts.add_parser("scale", help="start-up and memory, with an index of shards that aren't there")
    scale.add_argument("--runs", nargs="+", default=["1e6", "1e7", "1e8", "1e9", "1e10"])
    scale.add_argument("--stock", default="1e7", help="longest run that stock Streaming is asked for as well")
    start = parts.add_parser("start")
    start.add_argument("kind", choices=["stock", "planned"])
    start.add_argument("samples", type=int)
    start.add_argument("folder", type=Path)
    for part in (speed, scale):
        part.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.part == "start":
        _start(options.kind, options.samples, options.folder)
        return 0
    lines = []
    for line in (_speed if options.part == "speed" else _scale)(options):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        _write_table(options.part, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
