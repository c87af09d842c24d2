"""Layouts: which there are, which fit, which is taken, and what is written where none fits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from compiler.frontend.spans import parse_path
from compiler.layout.choice import Choice, why
from compiler.trace import workload_of
from schemas.diagnostics import Severity
from schemas.plan import RunPlan
from tests.recipes import compile_text, errors_of, plan_text

RECIPE = """\
name: layouts
model: {size: 7B}
tokenizer: {vocab_size: 32768}
data:
  sequence_length: 4096
  sources:
    code: {builtin: cpython-library}
budget: {tokens: 10B tok}
hardware: {gpu: h100-sxm-80gb, count: 64}
training: {batch: 4M tok}
"""


def made(folder: Path, *overrides: str) -> RunPlan:
    """The plan of the recipe with changes."""
    return plan_text(RECIPE, folder, *overrides)


def layout(plan: RunPlan) -> tuple[str, str, int, int, bool]:
    """Strategy, what is shared, over how many, copies, recomputation."""
    p = plan.parallelism
    return p.strategy, p.sharding, p.shard_degree, p.replicas, p.activation_checkpointing


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("none", ("ddp", "none", 1, 64)),
        ("gradients", ("fsdp", "gradients", 64, 1)),
        ("full", ("fsdp", "full", 64, 1)),
        ("hybrid", ("fsdp", "full", 8, 8)),
        ("{kind: hybrid, degree: 16}", ("fsdp", "full", 16, 4)),
    ],
)
def test_the_recipe_may_say_how_it_is_sharded(said: str, expected: tuple[str, str, int, int], tmp_path: Path) -> None:
    """Each word is that layout, in numbers that multiply to the devices."""
    plan = made(tmp_path, "model.size=1B", f"training.sharding={said}")
    assert layout(plan)[:4] == expected
    assert plan.parallelism.shard_degree * plan.parallelism.replicas == 64
    assert plan.provenance["parallelism.sharding"].origin == "recipe"


def test_a_small_model_is_copied_and_a_large_one_sharded(tmp_path: Path) -> None:
    """One copy a device where it fits and nothing is faster; weights shared where it doesn't."""
    assert layout(made(tmp_path, "model.size=100M"))[1:3] == ("none", 1)
    large = made(tmp_path, "model.size=30B")
    assert (large.parallelism.strategy, large.parallelism.sharding) == ("fsdp", "full")
    assert large.estimate.peak_memory_bytes <= large.estimate.memory_limit_bytes


def test_the_choice_is_the_fastest_of_all_that_can_be_said(tmp_path: Path) -> None:
    """No layout that the recipe could name by hand is faster, by more than simplicity is worth."""
    free = made(tmp_path).estimate.tokens_per_s_per_gpu
    forced = 0
    for sharding in ("none", "gradients", "full", "hybrid"):
        for recompute in ("true", "false"):
            said = (f"training.sharding={sharding}", f"training.activation_checkpointing={recompute}")
            plan = compile_text(RECIPE, tmp_path, *said).plan
            if plan is not None:
                forced += 1
                assert plan.estimate.tokens_per_s_per_gpu <= free * 1.03
    assert 2 <= forced < 8, "some layouts fit and some don't, or this shows nothing"


def test_the_reason_names_what_was_tried(tmp_path: Path) -> None:
    """Candidates, how many fit, the fastest and the next."""
    reason = made(tmp_path).provenance["parallelism.sharding"].reason
    assert reason.startswith("8 layouts tried, ")
    assert "fastest: " in reason
    assert "slower" in reason or "faster" in reason
    assert "-" not in reason


def test_a_layout_that_is_simpler_but_not_the_fastest_is_not_called_the_fastest(tmp_path: Path) -> None:
    """Numbers of two layouts a percent apart: the simpler one is first, and the reason says why."""
    w = workload_of(made(tmp_path))
    reason = why((Choice(w, 100.0), Choice(w, 101.0)), 2)
    assert "the simplest within 3% of the fastest: " in reason
    assert reason.endswith("1.0% faster")
    assert why((Choice(w, 101.0), Choice(w, 100.0)), 2).endswith("1.0% slower")


@pytest.mark.parametrize(
    "technique", ["compression=[{kind: pruning, scope: global}]", "training.gradient_clipping={kind: value}"]
)
def test_techniques_on_whole_weights_are_not_sharded(technique: str, tmp_path: Path) -> None:
    """Pruning ranks all layers together and clipping by value sees whole gradients: one copy a device, or a finding."""
    changes = ("model.size=1B", technique)
    assert made(tmp_path, *changes).parallelism.strategy == "ddp"
    found = compile_text(RECIPE, tmp_path, *changes, "training.sharding=full").findings
    assert [f.code for f in found if f.severity is Severity.ERROR] == ["RC504"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (("training.sharding={kind: full, degree: 8}",), "RC201"),
        (("training.sharding={kind: hybrid, degree: 48}",), "RC504"),
        (("training.sharding={kind: hybrid, degree: 64}",), "RC504"),
        (("hardware.count=8", "training.sharding=hybrid"), "RC504"),
        (("hardware.count=1", "model.size=1B", "training.sharding=gradients"), "RC504"),
        (("hardware={gpu: cpu, count: 2}", "model.size=10M", "training.sharding=full"), "RC504"),
        (("model.size=100B", "training.sharding=none"), "RC502"),
        (("training={batch: 4M tok, activation_checkpointing: false, microbatch: 16}",), "RC502"),
        (("model.size=300B", "hardware.count=8"), "RC502"),
        (("hardware={gpu: a100-sxm-40gb, count: 1}",), "RC502"),
        (("data.sequence_length=1048576", "training.batch=64M tok"), "RC502"),
        (("hardware={gpu: cpu, count: 1}",), "RC502"),
    ],
)
def test_what_cannot_be_is_refused_with_a_line_that_can(changes: tuple[str, ...], code: str, tmp_path: Path) -> None:
    """The finding's line, written where it points, leaves no such finding; all other lines offered work as well."""
    (finding,) = [f for f in errors_of(RECIPE, tmp_path, *changes) if f.code == code]
    key, _, value = finding.help.partition(": ")
    path = parse_path(finding.path)
    place = ".".join(map(str, path[: path.index(key) + 1])) if key in path else ".".join(map(str, (*path[:-1], key)))
    lines = [f"{place}={value}"]
    if code == "RC502":
        lines += [part.replace(": ", "=", 1) for part in finding.reason.split("`")[1::2]]
    for line in lines:
        again = compile_text(RECIPE, tmp_path, *changes, line).findings
        assert code not in {f.code for f in again}, line


def test_a_given_microbatch_is_kept(tmp_path: Path) -> None:
    """It limits the layouts instead of following from one."""
    plan = made(tmp_path, "training.microbatch=4")
    assert plan.training.microbatch == 4
    assert plan.provenance["training.microbatch"].origin == "recipe"
    assert plan.estimate.peak_memory_bytes <= plan.estimate.memory_limit_bytes


def test_a_free_choice_leaves_room_and_a_given_one_may_fill_it(tmp_path: Path) -> None:
    """6 % of the memory where any layout leaves that; near the end of what fits, less, before the plan is refused."""
    shares = []
    for billions in range(1, 40):
        plan = compile_text(RECIPE, tmp_path, f"model.size={billions / 10}B", "hardware.count=1").plan
        if plan is not None:
            shares.append(plan.estimate.peak_memory_bytes / plan.estimate.memory_limit_bytes)
    assert len([share for share in shares if share <= 0.941]) > 20
    assert max(shares) <= 1.0
    tight = [share for share in shares if share > 0.941]
    assert tight == shares[len(shares) - len(tight) :], "only the largest that fit may be tight"


@pytest.mark.parametrize(
    "changes",
    [
        ("model.size=10M", "hardware.count=1"),
        ("model.size=10M", "hardware.count=10000", "training={}"),
        ("model.size=10T", "hardware.count=10000", "training={}"),
        ("model.size=10T", "hardware.count=1", "training={}"),
        ("data.sequence_length=1048576", "training={}"),
        ("data.sequence_length=16", "training={batch: 64M tok}"),
        ("hardware={gpu: cpu, count: 64}", "model.size=10M"),
    ],
    ids=" ".join,
)
def test_the_ends_of_the_scale_are_planned_at_once(changes: tuple[str, ...], tmp_path: Path) -> None:
    """A plan or findings, never a fault, in well under a second."""
    compile_text(RECIPE, tmp_path)  # imports and caches
    start = time.perf_counter()
    compiled = compile_text(RECIPE, tmp_path, *changes)
    assert time.perf_counter() - start < 1.0
    assert compiled.plan is not None or compiled.findings
