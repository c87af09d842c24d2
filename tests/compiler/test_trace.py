"""`recipec plan --trace`: what the child says is put beside the closed form, and what it can't say is said for it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from compiler.cli import app
from compiler.estimate.memory.habits import habits_of
from compiler.estimate.memory.peak import peak
from compiler.trace import compare, workload_of
from schemas.plan import RunPlan
from tests.recipes import MINIMAL, plan_text

GPU = ("hardware={gpu: h100-sxm-80gb, count: 8}", "model.size=1B", "budget.tokens=10B", "data.sequence_length=2048")


def traced(**parts: float) -> dict[str, Any]:
    """A trace whose loss is its fullest instant, with these bytes."""
    whole = {"parameters": 0.0, "gradients": 0.0, "optimizer": 0.0, "activations": 0.0, "loss": 0.0, **parts}
    instants = {"loss": whole, "forward": {name: value / 2 for name, value in whole.items()}}
    return {"layers": 7, "depths": [2, 4], "sharded": False, "instant": "loss", "parts": whole, "instants": instants}


def python(folder: Path, body: str) -> str:
    """A stand-in for Python."""
    file = folder / "python stand-in"
    file.write_text(f"#!{sys.executable}\nimport json, sys\n{body}\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def plan_with_trace(folder: Path, *options: str) -> int:
    """Run the command in this process."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(MINIMAL, encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        app(["plan", str(recipe), "--trace", *options])
    return int(end.value.code or 0)


def test_parts_stand_side_by_side_with_their_difference(tmp_path: Path) -> None:
    """Closed form without margins against the trace, at one instant; the total's difference is against the trace."""
    plan = plan_text(MINIMAL, tmp_path, *GPU)
    w = workload_of(plan)
    closed = peak(w)
    found = compare(plan, traced(activations=100.0, loss=50.0))
    assert [row.part for row in found.rows][-2:] == ["activations", "loss"]
    assert found.total.traced == 150
    assert found.total.closed_form == sum(row.closed_form for row in found.rows)
    # The plan's own figure has the allocator's share and the libraries' on top.
    assert found.total.closed_form < closed.peak_bytes - habits_of(w.stack).fixed_bytes
    assert found.total.difference == pytest.approx(found.total.closed_form / 150 - 1)
    everything = found.total.closed_form + sum(found.untraced.values())
    assert everything == pytest.approx(plan.estimate.peak_memory_bytes, rel=1e-6)


def test_a_sharded_plan_is_compared_where_a_trace_can_see(tmp_path: Path) -> None:
    """Shares of weights are no matter of one device; they are listed as not traced."""
    plan = plan_text(MINIMAL, tmp_path, *GPU, "training.sharding=full")
    found = compare(plan, traced(activations=100.0, loss=50.0))
    assert [row.part for row in found.rows] == ["activations", "loss"]
    assert {"parameters", "optimizer", "gathered", "workspace"} <= set(found.untraced)


def test_the_plan_gives_the_workload_that_it_was_estimated_with(tmp_path: Path) -> None:
    """Frozen sections and the draft lead to the same bytes."""
    for changes in (
        (),
        GPU,
        (*GPU, "training.sharding=hybrid", "hardware.count=16"),
        ("model.family=gpt2", "model.dropout=0.1"),
    ):
        plan: RunPlan = plan_text(MINIMAL, tmp_path, *changes)
        assert peak(workload_of(plan)).peak_bytes == plan.estimate.peak_memory_bytes


def test_the_trace_is_printed_below_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text for people; for programs the plan's JSON with `trace`. The child gets a plan and nothing of the user's folder."""
    found = traced(activations=9e9, loss=1e9)
    body = f"assert sys.argv[1:4] == ['-P', '-m', 'runtime.tracing.trace'], sys.argv\nprint(json.dumps({found}))"
    monkeypatch.setenv("RECIPEC_PYTHON", python(tmp_path, body))
    assert plan_with_trace(tmp_path) == 0
    shown = capsys.readouterr().out
    assert "closed form        trace" in shown
    assert "traced with 2 and 4 layers, drawn out to 7" in shown
    assert plan_with_trace(tmp_path, "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["trace"]["parts"]["total"]["traced"] == 10_000_000_000
    assert document["model"]["num_parameters"] > 0


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("import no_such_torch", 3, "has no no_such_torch"),
        (
            "print('error[RC605]: the plan is damaged', file=sys.stderr); sys.exit(1)",
            1,
            "error[RC605]: the plan is damaged",
        ),
        ("raise ValueError('oh')", 3, "the trace failed: ValueError: oh"),
        ("sys.exit(9)", 3, "the trace failed: it said nothing"),
        ("import os; os.kill(os.getpid(), 9)", 3, "the trace was ended by SIGKILL"),
        ("print('hello')", 3, "ran, and gave no trace"),
    ],
)
def test_what_stops_the_trace_is_said_with_its_remedy(
    body: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No torch there, a plan that is refused, a fault: one finding, no traceback."""
    monkeypatch.setenv("RECIPEC_PYTHON", python(tmp_path, body))
    assert plan_with_trace(tmp_path) == code
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_a_python_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """RECIPEC_PYTHON may be wrong."""
    monkeypatch.setenv("RECIPEC_PYTHON", os.fspath(tmp_path / "nowhere"))
    assert plan_with_trace(tmp_path) == 3
    assert "can't be asked" in capsys.readouterr().err


def test_a_trace_is_of_one_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not of a comparison, nor of a table."""
    assert plan_with_trace(tmp_path, "--against", "old.yaml") == 2
    assert plan_with_trace(tmp_path, "--sweep", "budget.tokens=1M,2M") == 2
    assert "--trace" in capsys.readouterr().err
