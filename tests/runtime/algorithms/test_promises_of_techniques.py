"""What every technique promises of a run, on Composer's Trainer in processes of their own.

One that never acts changes nothing; killed inside its window and started again it is the undisturbed run, to the last bit; and
on other numbers of ranks it reads the same samples, and decides the same. The table is in promise_cases.py.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime import checkpoint
from runtime.algorithms import export
from runtime.compression.shipping import load_shipped
from runtime.compression.sparsity.layers import prunable
from runtime.models.model_files import write_loadable
from runtime.models.planned import load_trained
from schemas.plan import RunPlan
from schemas.techniques import TECHNIQUES
from tests.runtime.algorithms.promise_cases import CASES, SAVED, STEPS, Case, idle, set_up
from tests.runtime.elastic import Attempt, Ranks, fed
from tests.runtime.training_case import layout_of, metrics

pytestmark = pytest.mark.xdist_group("promises of techniques")  # one warm process serves all of them

KILLED = SAVED + 1
TIMING = ("seconds", "tokens_per_s", "mfu", "resumed_from", "spend")
ON_RANKS = [name for name, case in CASES.items() if case.ranks]
ALONE, TOGETHER = Attempt(1), Attempt(2, microbatch=4)


class Runs:
    """Runs of the cases, each made when it is first asked for."""

    def __init__(self, ranks: Ranks, folder: Path) -> None:
        self._ranks, self._folder = ranks, folder
        self._done: set[Path] = set()

    def of(self, name: str, *attempts: Attempt, case: Case | None = None) -> tuple[RunPlan, Path]:
        """A run by attempts, of which all but the last are killed; its plan and its folder."""
        inputs = self._folder / name.replace(" ", "-")
        if not inputs.exists():
            set_up(case or CASES[name], inputs)
        plan = RunPlan.model_validate_json((inputs / "plan.json").read_text())
        shapes = "-".join(f"{attempt.ranks}" for attempt in attempts)
        folder = inputs.with_name(f"{inputs.name}--{shapes}")
        if folder not in self._done:
            self._run(inputs, folder, attempts)
            self._done.add(folder)
        return plan, folder

    def _run(self, inputs: Path, folder: Path, attempts: tuple[Attempt, ...]) -> None:
        # A killed attempt is made once, whatever goes on from it.
        before = inputs
        for number, attempt in enumerate(attempts):
            killed = number < len(attempts) - 1
            place = folder.with_name(f"{inputs.name}--killed{attempt.ranks}") if killed else folder
            if place not in self._done:
                shutil.copytree(before, place)
                codes = self._ranks.run(place, number, _dying(attempt) if killed else attempt)
                wanted = codes[-1] == -9 if killed else codes == [0] * attempt.ranks
                assert wanted, (codes, (place / "log").read_text()[-3000:])
                self._done.add(place)
            before = place


def _dying(attempt: Attempt) -> Attempt:
    """The same, whose last rank is killed after step 3."""
    return Attempt(attempt.ranks, microbatch=attempt.microbatch, dies=attempt.ranks - 1, after=KILLED)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs over ranks that are forked from one warm process."""
    with Ranks() as ranks:
        yield Runs(ranks, tmp_path_factory.mktemp("promises"))


def shown(plan: RunPlan, folder: Path) -> list[dict[str, Any]]:
    """What was measured, without times."""
    return [{k: v for k, v in line.items() if k not in TIMING} for line in metrics(plan, folder)]


def weights_of(plan: RunPlan, folder: Path) -> dict[str, torch.Tensor]:
    """Of the finished model."""
    return load_trained(plan, layout_of(plan, folder)).state_dict()


def saved_state(plan: RunPlan, folder: Path) -> dict[str, Any]:
    """Of the last checkpoint: weights, optimizer, schedules, averages and masks, random state; not when it was."""
    found = checkpoint.latest(layout_of(plan, folder).checkpoints, plan)
    assert found is not None
    assert found.progress.step == STEPS
    state = {name: found.state["state"][name] for name in ("model", "optimizers", "schedulers", "algorithms")}
    return {**state, "rng": found.state["rng"]}


def exported(plan: RunPlan, folder: Path) -> dict[str, str]:
    """Files that leave the run, by their content."""
    target = folder / "exported"
    target.mkdir()
    write_loadable(load_shipped(plan, layout_of(plan, folder)), target, plan)
    export(plan, layout_of(plan, folder), target)
    files = (path for path in target.rglob("*") if path.is_file())
    return {str(path.relative_to(target)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_same(left: Any, right: Any, where: str = "state") -> None:
    """Equal to the last bit, through mappings and lists."""
    assert type(left) is type(right), where
    if isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype, where
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left.keys() - {"repr"}:  # Composer's, with an address in memory
            assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_same(one, other, f"{where}[{number}]")
    else:
        assert left == right, where


def samples(folder: Path) -> list[list[int]]:
    """What the model was given, step by step."""
    steps = fed(folder)
    assert sorted(steps) == list(range(1, STEPS + 1))
    return [steps[step] for step in sorted(steps)]


def zeros(plan: RunPlan, folder: Path) -> dict[str, int]:
    """Weights of each layer that are zero in the finished model."""
    layers = prunable(dict(load_trained(plan, layout_of(plan, folder)).named_modules()))
    return {name: int((layer.weight == 0).sum()) for name, layer in layers.items() if torch.is_tensor(layer.weight)}


def test_every_technique_is_in_the_table() -> None:
    """One that is added later without a case fails, as does one without a case on two ranks."""
    kinds = {case.kind for case in CASES.values()}
    assert kinds - {"precision"} == set(TECHNIQUES)
    assert {CASES[name].kind for name in ON_RANKS} == kinds
    assert all(case.kind in ("precision", *(spec["kind"] for spec in case.algorithms)) for case in CASES.values())
    assert set(idle()) == set(TECHNIQUES) - {"lora", "low_rank"}


@pytest.mark.parametrize("name", CASES)
def test_killed_and_resumed_is_undisturbed(runs: Runs, name: str) -> None:
    """SIGKILL after step 3, on from step 2: measured, kept, finished and exported is the same, bit for bit."""
    plan, straight = runs.of(name, ALONE)
    _, torn = runs.of(name, ALONE, ALONE)
    assert samples(torn) == samples(straight)
    assert shown(plan, torn) == shown(plan, straight)
    assert_same(saved_state(plan, torn), saved_state(plan, straight))
    assert_same(weights_of(plan, torn), weights_of(plan, straight))
    files = exported(plan, straight)
    assert any(file.endswith(".safetensors") for file in files)
    assert exported(plan, torn) == files


@pytest.mark.parametrize("name", ON_RANKS)
def test_two_ranks_killed_and_resumed_are_undisturbed(runs: Runs, name: str) -> None:
    """One of them dies, two go on: the same samples, losses, state and weights, bit for bit."""
    plan, straight = runs.of(name, TOGETHER)
    _, torn = runs.of(name, TOGETHER, TOGETHER)
    assert samples(torn) == samples(straight)
    assert shown(plan, torn) == shown(plan, straight)
    assert_same(saved_state(plan, torn), saved_state(plan, straight))
    assert_same(weights_of(plan, torn), weights_of(plan, straight))


@pytest.mark.parametrize("name", ON_RANKS)
def test_ranks_do_not_change_what_is_decided(runs: Runs, name: str) -> None:
    """Two ranks, and two of which one goes on: samples, teachers' turns, sparsity and adapters are those of one alone."""
    plan, alone = runs.of(name, ALONE)
    expected = shown(plan, alone)
    for attempts in ((TOGETHER,), (TOGETHER, ALONE)):
        _, folder = runs.of(name, *attempts)
        found = shown(plan, folder)
        assert samples(folder) == samples(alone)
        assert [line.keys() for line in found] == [line.keys() for line in expected]
        for line, wanted in zip(found, expected, strict=True):
            assert all(math.isfinite(value) for value in line.values() if isinstance(value, float))
            # Dropout differs from rank to rank; else sums in another order do, which rounding to a grid makes larger.
            assert line["loss"] == pytest.approx(wanted["loss"], abs=0.02), line["step"]
        assert zeros(plan, folder) == pytest.approx(zeros(plan, alone), abs=1)
        state, wanted_state = saved_state(plan, folder)["model"], saved_state(plan, alone)["model"]
        assert {k: (v.shape, v.dtype) for k, v in state.items()} == {
            k: (v.shape, v.dtype) for k, v in wanted_state.items()
        }


@pytest.mark.parametrize("kind", idle())
def test_one_that_never_acts_changes_nothing(runs: Runs, kind: str) -> None:
    """Its window begins when the run is over: samples, losses and weights are those of a plan without it, bit for bit."""
    plain, without = runs.of("no technique", ALONE, case=Case("none"))
    plan, listed = runs.of(f"idle {kind}", ALONE, case=Case(kind, (idle()[kind],)))
    assert samples(listed) == samples(without)
    assert shown(plan, listed) == shown(plain, without)
    assert_same(weights_of(plan, listed), weights_of(plain, without))
