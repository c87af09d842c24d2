"""Promises (c) and (d): one sequence of batches, whatever machines train it and however often they are killed.

Everything here is Composer's Trainer over real shards, in as many processes as there are ranks; compared is what the model
was given, batch by batch and rank by rank, not what a loader says.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.elastic import SOURCE, Attempt, Ranks, fed, plan_of, sequence, write_plan
from tests.runtime.ports import free_port
from tests.runtime.training_case import LENGTH, layout_of, metrics

pytestmark = pytest.mark.xdist_group("elastic")  # one warm process serves all of them

SIZES = {"code": 40, "prose": 30, "notes": 13}
PHASES = [  # code and prose, a transition in two pieces that lets notes in, and notes as the most
    {"code": 27, "prose": 13},
    {"code": 12, "prose": 9, "notes": 3},
    {"code": 9, "prose": 9, "notes": 6},
    {"code": 13, "prose": 7, "notes": 20},
]
EASY_FIRST = {  # half of code at first, all of it from the middle of the run on
    "metric": "length", "model": None, "order": "easy_to_hard", "pacing": "linear", "start": 0.5,
    "end_token": sum(sum(counts.values()) for counts in PHASES) * LENGTH // 2, "power": 1.0, "growth": 1.0, "stages": 1,
    "buckets": 4, "scope": "source",
}  # fmt: skip
PLAN = plan_of(
    PHASES, SIZES, data={"shuffle_block": 16, "curricula": {"code": EASY_FIRST}},
    # Room for 19 of the 24 shards of code, which are packed and elsewhere.
    checkpoints={"interval_steps": 2}, execution={"cache_limit": 9_700},
)  # fmt: skip
STEPS = PLAN.training.steps


class Runs:
    """Undisturbed runs of the plan, each made when it is first asked for."""

    def __init__(self, ranks: Ranks, folder: Path) -> None:
        self.ranks, self._folder = ranks, folder
        self._made: dict[Attempt, tuple[list[int], list[float]]] = {}

    def of(self, attempt: Attempt) -> tuple[list[int], list[float]]:
        """Samples in the order of training, and the loss of each step."""
        if attempt not in self._made:
            self._made[attempt] = self.torn(f"whole{len(self._made)}", attempt)
        return self._made[attempt]

    def torn(self, name: str, *attempts: Attempt) -> tuple[list[int], list[float]]:
        """The same of a run that several attempts make, of which all but the last are killed."""
        folder = self._folder / name
        write_plan(PLAN, SIZES, folder, packed=["code"])
        return self.ranks.finish(folder, *attempts), losses(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs over ranks that are forked from one warm process."""
    with Ranks() as ranks:
        yield Runs(ranks, tmp_path_factory.mktemp("elastic"))


def losses(folder: Path) -> list[float]:
    """The loss of each step of a finished run; each step is there once."""
    lines = metrics(PLAN, folder)
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    return [line["loss"] for line in lines]


def test_the_model_is_given_what_the_plan_says(runs: Runs) -> None:
    """(a), (b) seen from the model: exact draws per phase, even prefixes, no sample again before its source was through."""
    given, _ = runs.of(Attempt())
    drawn: dict[int, list[int]] = {0: [], 1: [], 2: []}
    start = 0
    for counts in PHASES:
        total = sum(counts.values())
        phase = np.array(given[start : start + total]) // SOURCE
        start += total
        for number, name in enumerate(SIZES):
            placed, ideal = np.cumsum(phase == number), np.arange(1, total + 1) * counts.get(name, 0) / total
            assert placed[-1] == counts.get(name, 0)
            assert np.abs(placed - ideal).max() < 1
    for sample in given:
        drawn[sample // SOURCE].append(sample % SOURCE)
    for samples, size in zip(drawn.values(), SIZES.values(), strict=True):
        assert sorted(samples[:size]) == list(range(size))
        for begin in range(size, len(samples), size):
            again = samples[begin : begin + size]
            assert len(set(again)) == len(again)
            assert again != samples[: len(again)]


SHAPES = [
    Attempt(1, workers=3, microbatch=3),
    Attempt(2, workers=2, microbatch=4),
    Attempt(2, nodes=2, workers=4, microbatch=1),
    Attempt(4, nodes=2, workers=1, microbatch=1),
    Attempt(8, nodes=2),
]
SAME_RANKS = [  # over other nodes and workers
    (Attempt(1), Attempt(1, workers=1)),
    (Attempt(2, microbatch=1), Attempt(2, nodes=2, workers=4, microbatch=1)),
    (Attempt(4, microbatch=1), Attempt(4, nodes=2, workers=1, microbatch=1)),
]


def named(attempt: Attempt) -> str:
    """How a test of these machines is called."""
    return f"{attempt.ranks}ranks-{attempt.nodes}nodes-{attempt.workers}workers-microbatch{attempt.microbatch}"


@pytest.mark.parametrize("shape", SHAPES, ids=named)
def test_every_global_batch_is_the_same_on_all_machines(runs: Runs, shape: Attempt) -> None:
    """(c): the ranks' parts of each batch, put together, are the batch that one rank without workers is given."""
    given, losses_there = runs.of(shape)
    expected, losses_alone = runs.of(Attempt())
    assert given == expected
    # Rounding differs where gradients are summed in another order; the batches don't.
    assert losses_there == pytest.approx(losses_alone, rel=1e-5)


@pytest.mark.parametrize(("shape", "other"), SAME_RANKS, ids=named)
def test_losses_are_equal_to_the_last_bit_where_the_world_size_is_equal(
    runs: Runs, shape: Attempt, other: Attempt
) -> None:
    """(c): the same ranks over other machines, fed by other workers, compute the same numbers."""
    assert runs.of(other) == runs.of(shape)


def test_killed_and_resumed_on_other_machines_the_same_sequence_goes_on(runs: Runs) -> None:
    """(d): 1 rank, then 4 on two nodes, then 2 with workers: killed twice by SIGKILL, nothing lost or repeated."""
    given, _ = runs.torn(
        "grown",
        Attempt(1, workers=1, dies=0, after=3),
        Attempt(4, nodes=2, dies=3, after=4),
        Attempt(2, workers=2, microbatch=2),
    )
    assert given == runs.of(Attempt())[0]


@pytest.mark.parametrize("shape", [Attempt(1), Attempt(2, microbatch=1)], ids=named)
def test_killed_and_resumed_with_as_many_ranks_losses_are_equal_to_the_last_bit(runs: Runs, shape: Attempt) -> None:
    """(d): other workers and nodes, as many ranks: each step's loss is that of the run that nobody disturbed."""
    last = shape.ranks - 1
    attempts = [
        replace(shape, workers=2, dies=last, after=5),
        replace(shape, nodes=shape.ranks, dies=0, after=4),
        replace(shape, workers=1),
    ]
    assert runs.torn(f"torn{shape.ranks}", *attempts) == runs.of(shape)


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_batch_by_chance(runs: Runs, seed: int) -> None:
    """(d): kills at random batches or a moment after them, with random ranks, nodes, workers and microbatches."""
    draw = random.Random(seed)
    attempts = []
    for _ in range(2):
        ranks = draw.choice([1, 2, 4])
        attempts.append(
            Attempt(
                ranks,
                nodes=draw.choice([1, ranks]),
                workers=draw.choice([0, 0, 1, 2]),
                microbatch=draw.choice([1, 8]),
                dies=draw.randrange(ranks),
                after=draw.randint(1, 4),
                seconds=draw.choice([0.0, 0.003]),
            )
        )
    given, _ = runs.torn(f"chance{seed}", *attempts, Attempt(2))
    assert Counter(given) == Counter(runs.of(Attempt())[0])
    assert given == runs.of(Attempt())[0]


def test_a_rank_that_fails_ends_all_ranks(runs: Runs, tmp_path: Path) -> None:
    """(d): a shard is gone. The rank that needs it says so, no rank waits for ever; after the repair the sequence goes on."""
    write_plan(PLAN, SIZES, tmp_path, packed=["code"])
    store = tmp_path / "store" / "code"
    gone = store / "shard.00017.mds.zstd"  # samples 34 and 35, of the harder half: not needed at once
    kept = gone.read_bytes()
    gone.unlink()
    began = time.monotonic()
    codes = runs.ranks.run(tmp_path, 0, Attempt(2, workers=1))
    assert time.monotonic() - began < 120
    assert 1 in codes
    assert "DataError" in (log := (tmp_path / "log").read_text())
    assert gone.name.removesuffix(".zstd") in log
    assert 0 < len(fed(tmp_path)) < STEPS
    gone.write_bytes(kept)
    assert runs.ranks.run(tmp_path, 1, Attempt(2)) == [0, 0]
    assert sequence(tmp_path) == runs.of(Attempt())[0]


def test_two_agents_of_torchrun_train_the_same(runs: Runs, tmp_path: Path) -> None:
    """(c): two nodes as torchrun starts them, an agent each: the batches and losses of the ranks that these tests fork."""
    attempt = Attempt(2, nodes=2, microbatch=1)
    write_plan(PLAN, SIZES, tmp_path, packed=["code"])
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "NODE_RANK")}
    agents = [
        subprocess.Popen(
            [
                sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", f"--node_rank={node}",
                "--master_addr=127.0.0.1", f"--master_port={port}",
                "-m", "tests.runtime.warm_ranks", str(tmp_path), json.dumps(asdict(attempt)),
            ],
            env={**environment, "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[2], start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for node in (0, 1)
    ]  # fmt: skip
    try:
        said = [agent.communicate(timeout=300)[0] for agent in agents]
    finally:
        for agent in agents:
            if agent.poll() is None:
                os.killpg(agent.pid, signal.SIGKILL)
    assert [agent.returncode for agent in agents] == [0, 0], "\n".join(said)[-3000:]
    assert (sequence(tmp_path), losses(tmp_path)) == runs.of(attempt)
    assert layout_of(PLAN, tmp_path).metrics.exists()
