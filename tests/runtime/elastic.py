"""Trainings on changing machines, and what their models were given: plans over numbered samples, attempts, records.

Ranks run in tests/runtime/warm_ranks.py; this module is what tests and benchmarks talk to.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from runtime.data.shards import COLUMN, write_manifest
from runtime.steps.base import Result
from schemas.plan import RunPlan
from tests.factory import tiny_plan
from tests.runtime.images import case
from tests.runtime.training_case import LENGTH, VOCAB, layout_of, split

__all__ = ["SOURCE", "Attempt", "Ranks", "fed", "plan_of", "prepared", "sequence", "write_plan"]

SOURCE: Final = 1_000_000
"""The number of sample i of source s is s * 1,000,000 + i."""

_ROOT: Final = Path(__file__).parents[2]
_HELDOUT: Final = 8
_SHARD_BYTES: Final = 512
"""Two or three samples a shard."""


@dataclass(frozen=True)
class Attempt:
    """One start of a training; ranks, nodes, workers and microbatch are where attempts at one run differ.

    Args:
        ranks: processes that train.
        nodes: machines that they are spread over evenly: each a set of ranks with shared memory of its own.
        workers: loader processes of each rank.
        microbatch: samples of one forward pass, at most.
        dies: the rank that kills itself, or None.
        after: batches of this attempt after which it does; 0 counts from its start.
        seconds: how long after that; any moment of setting up, loading, training or saving.
    """

    ranks: int = 1
    nodes: int = 1
    workers: int = 0
    microbatch: int = 8
    dies: int | None = None
    after: int = 1
    seconds: float = 0.0


def plan_of(phases: Sequence[Mapping[str, int]], sizes: Mapping[str, int], **changes: Any) -> RunPlan:
    """The tiny plan over sources of `sizes` samples; `phases` are samples of each source, whole batches of 8 in all."""
    made: list[dict[str, Any]] = []
    end = 0
    for number, counts in enumerate(phases):
        start, end = end, end + sum(counts.values()) * LENGTH
        shares = {name: {"samples": count, "tokens": count * LENGTH} for name, count in counts.items()}
        made.append({"id": f"phase{number}", "start_token": start, "end_token": end, "sources": shares})
    sections: dict[str, dict[str, Any]] = {
        "budget": {"tokens": end},
        "data": {"phases": made, "sources": {name: {"jsonl": f"{name}.jsonl"} for name in sizes}},
        "training": {"steps": end // (8 * LENGTH)},
        "evaluation": {"interval_steps": 1_000_000},
        "execution": {"threads": 1},
        "logging": {"console": False},
    }
    return tiny_plan(**{name: {**part, **changes.pop(name, {})} for name, part in sections.items()}, **changes)


def write_plan(plan: RunPlan, sizes: Mapping[str, int], folder: Path, *, packed: Sequence[str] = ()) -> None:
    """A plan for all attempts in `folder`: shards whose samples begin with their own number, and scores that rise with it.

    Sources in `packed` are compressed and elsewhere, so that their shards are fetched, unpacked and kept in the run's cache.
    """
    (folder / "fed").mkdir(parents=True, exist_ok=True)
    cache = layout_of(plan, folder).cache
    for number, (name, size) in enumerate(sizes.items()):
        prepared_folder = cache / f"prepare-{name}"
        prepared_folder.mkdir(parents=True)
        if name in packed:
            _write_shards(folder / "store" / name, number, size + _HELDOUT, compression="zstd")
        else:
            _write_shards(prepared_folder / "train", number, size)
            _write_shards(prepared_folder / "heldout", number, _HELDOUT)
        write_manifest(prepared_folder)
        if name in plan.data.curricula:
            scores = cache / f"score-{name}" / plan.data.curricula[name].metric
            scores.parent.mkdir()
            np.save(scores.with_suffix(".npy"), np.arange(size, dtype=np.float32))
            np.save(scores.with_suffix(".order.npy"), np.arange(size, dtype=np.int64))
            write_manifest(scores.parent)
    (folder / "sizes.json").write_text(json.dumps(dict(sizes)))
    (folder / "plan.json").write_text(plan.model_dump_json(by_alias=True))


def _write_shards(folder: Path, source: int, samples: int, compression: str | None = None) -> None:
    from streaming import MDSWriter

    columns = {COLUMN: f"ndarray:uint16:{LENGTH}"}
    with MDSWriter(
        columns=columns, out=str(folder), compression=compression, hashes=["sha1"], size_limit=_SHARD_BYTES
    ) as writer:
        for i in range(samples):
            tokens = np.concatenate([[source, i // VOCAB, i % VOCAB], (i + np.arange(LENGTH - 3)) % VOCAB])
            writer.write({COLUMN: tokens.astype(np.uint16)})


def prepared(plan: RunPlan, folder: Path) -> dict[str, Result]:
    """What the steps before training would have left of `write_plan`'s data; of a classifier's plan real digits."""
    if plan.is_classifier:
        return case.prepared(plan, folder)
    cache = layout_of(plan, folder).cache
    results = {
        "tokenizer": Result("tokenizer", "0" * 64, cache / "tokenizer", {"vocab_size": VOCAB, "eos_token_id": 0})
    }
    for number, (name, size) in enumerate(json.loads((folder / "sizes.json").read_text()).items()):
        values: dict[str, Any] = {
            "source": name,
            "column": COLUMN,
            "train": split("train", size),
            "heldout": split("heldout", _HELDOUT),
        }
        store = folder / "store" / name
        if store.exists():
            values["content_sha256"] = hashlib.sha256((store / "index.json").read_bytes()).hexdigest()
            values["train"] |= {"remote": str(store), "local": None}
            values["heldout"] |= {"remote": str(store), "local": None, "first_sample": size}
        results[f"prepare-{name}"] = Result(f"prepare-{name}", f"{number:x}" * 64, cache / f"prepare-{name}", values)
        if name in plan.data.curricula:
            values = {"scored": name, "metrics": {plan.data.curricula[name].metric: {}}, "documents": size}
            results[f"score-{name}"] = Result(f"score-{name}", f"{number:x}" * 64, cache / f"score-{name}", values)
        if (said := cache / f"logits-{name}.json").exists():
            results[f"logits-{name}"] = Result(
                f"logits-{name}", f"{number:x}" * 64, said.with_suffix(""), json.loads(said.read_text())
            )
    return results


def sequence(folder: Path, batch: int = 8) -> list[int]:
    """What a run of one or more attempts was trained on: batch after batch, the ranks' parts of each one after another."""
    steps = fed(folder)
    assert sorted(steps) == list(range(1, len(steps) + 1)), "steps are missing"
    assert all(len(samples) == batch for samples in steps.values()), "a rank's part of a batch is missing"
    return [number for step in sorted(steps) for number in steps[step]]


def fed(folder: Path) -> dict[int, list[int]]:
    """Samples of each step, by number, as the last attempt that reached the step was given them.

    Whatever a killed attempt did after its last checkpoint is undone, and done again by the next one.
    """
    steps: dict[int, tuple[str, list[int]]] = {}
    for path in sorted((folder / "fed").iterdir()):  # by attempt, then by rank
        attempt = path.stem.split("-")[0]
        for line in path.read_text().splitlines():
            record = json.loads(line)
            before = steps.get(record["step"], ("", []))
            steps[record["step"]] = (attempt, [*(before[1] if before[0] == attempt else []), *record["samples"]])
    return {step: samples for step, (_, samples) in steps.items()}


class Ranks:
    """The warm process that forks ranks; a context manager, so that nothing of it stays behind."""

    def __init__(self) -> None:
        inherited = {
            name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "NODE_RANK")
        }
        # Nothing is compiled: importing bitsandbytes would start a process for each core that waits for work.
        alone = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS")
        environment = {**inherited, **dict.fromkeys(alone, "1")}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.runtime.warm_ranks"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=_ROOT,
        )  # fmt: skip

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=300)
        assert self._server.stdout is not None
        self._server.stdout.close()

    def run(self, folder: Path, number: int, attempt: Attempt) -> list[int]:
        """Exit codes of the ranks of attempt `number`, negative for signals; their output is in `folder`/log."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        job = {"folder": str(folder), "number": number, "attempt": asdict(attempt)}
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return cast("list[int]", json.loads(self._server.stdout.readline()))

    def finish(self, folder: Path, *attempts: Attempt) -> list[int]:
        """Run attempts one after another, of which all but the last die, and return the whole sequence of samples."""
        for number, attempt in enumerate(attempts):
            codes = self.run(folder, number, attempt)
            wanted = codes == [0] * attempt.ranks if attempt.dies is None else codes[attempt.dies] == -signal.SIGKILL
            assert wanted, (folder / "log").read_text()[-3000:]
        return sequence(folder)
