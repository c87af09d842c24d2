"""How a sequence looks: on the screen, on the page, in a sweep, in a difference, and value by value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler.diff import diff
from compiler.pipeline import compile_recipe
from compiler.render.canvas import Look
from compiler.render.diff import render_diff
from compiler.render.page import render_page
from compiler.render.plan import render_plan
from compiler.render.sequence import rows
from compiler.render.visible import cells
from schemas.plan import RunPlan
from tests.compiler.lineage.test_sequence import SHARED, THREE
from tests.recipes import compile_text, plan_text


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """Three runs under a limit; the last one starts from the first."""
    return plan_text(THREE, tmp_path_factory.mktemp("plan"), "budget.max_cost=$9")


def test_the_screen_has_a_row_a_run(plan: RunPlan) -> None:
    """Name, start, teacher, techniques, size, tokens, time, cost; then the sums, what teaching takes, and the limit."""
    lines = render_plan(plan, Look(110)).split("\n")
    found = {line.split()[0]: line for line in lines[3:7]}
    assert lines[2].split()[:3] == ["Runs", "run", "starts"]
    assert found["b"].split()[1:6] == ["random", "weights", "a", "1.07M", "999k"]
    assert found["c"].split()[1:4] == ["a", "b", "ema"]
    assert plan.totals is not None
    assert f"${plan.totals.usd:.2f}" in found["together"]
    text = " ".join(" ".join(lines).split())
    assert "b: taught by a in 20 % of its steps, 7 % more work; pays if it needs 6 % fewer steps" in text
    assert "of max_cost $9.00" in text
    assert "Run c, the last one" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(plan: RunPlan, width: int) -> None:
    """Columns go by rank where there is no room."""
    assert max(cells(line) for line in render_plan(plan, Look(width, unicode=False)).split("\n")) <= width


def test_a_run_alone_has_no_table(plan: RunPlan, tmp_path: Path) -> None:
    """Neither a recipe without a sequence, nor one run of it that is looked at."""
    assert rows(plan_text(SHARED, tmp_path)) == []
    for alone in (plan.earlier[1], plan_text(SHARED, tmp_path)):
        assert "\nRuns " not in render_plan(alone, Look(100))


def test_the_page_has_the_same_table(tmp_path: Path) -> None:
    """And none without a sequence."""
    page = render_page(compile_text(THREE, tmp_path))
    section = page[page.index('<section id="runs"') :]
    section = section[: section.index("</section>")]
    assert section.count('<th scope="row">') == 4
    assert "taught by a in 20 %" in section
    assert 'id="runs"' not in render_page(compile_text(SHARED, tmp_path))


def test_a_difference_is_told_run_by_run(plan: RunPlan, tmp_path: Path) -> None:
    """Changed, the same, new and gone ones; runs are matched by name, also where the last one is another."""
    changed = plan_text(THREE, tmp_path, "budget.max_cost=$9", "sequence.b.seed=9")
    text = render_diff(diff(plan, changed), "text")
    assert "run a is the same" in text
    assert "seed  18 -> 9" in text
    longer = plan_text(THREE + "  - {name: d}\n", tmp_path, "budget.max_cost=$9")
    found = diff(plan, longer)
    assert (found.old.run, found.new.run) == ("c", "c")
    assert [(run.name, run.kind, run.is_same) for run in found.runs] == [
        ("a", "~", True),
        ("b", "~", True),
        ("d", "+", False),
    ]
    assert "+ run d is new" in render_diff(found, "text")
    assert "- run d is gone" in render_diff(diff(longer, plan), "text")
    assert render_diff(diff(plan, plan), "text") == "No differences.\n"
    content = json.loads(render_diff(found, "json"))
    assert [(run["run"], run["kind"]) for run in content["runs"]] == [("a", "~"), ("b", "~"), ("d", "+")]


def test_a_difference_of_an_earlier_run_is_one(plan: RunPlan, tmp_path: Path) -> None:
    """Though it changes no identity: an interval of logging is no reason to say that nothing differs."""
    other = plan_text(THREE, tmp_path, "budget.max_cost=$9", "sequence.a.logging.interval=7ba")
    assert other.fingerprint == plan.fingerprint
    assert "logging.interval_steps" in render_diff(diff(plan, other), "text")


def test_a_sequence_is_no_single_run(plan: RunPlan, tmp_path: Path) -> None:
    """Against a recipe without a sequence, the last run is compared, and no other."""
    assert diff(plan_text(SHARED, tmp_path), plan).runs == ()


def test_commands_show_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plan --run`, `explain --run`; a name that there is not is wrong usage, with the closest one."""
    from compiler.commands.inspect import Shown, explain
    from compiler.commands.inspect import plan as show_plan
    from compiler.render.console import Format, PlanFormat

    path = tmp_path / "r.yaml"
    path.write_text(THREE, encoding="utf-8")
    assert show_plan(path, (), Shown(run="b"), PlanFormat.JSON) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "b"
    assert explain(str(path), "seed", (), "b", Format.TEXT) == 0
    assert "seed = 18" in capsys.readouterr().out
    assert show_plan(path, (), Shown(run="bb"), PlanFormat.TEXT) == 2
    assert "no run 'bb'" in capsys.readouterr().err
    path.write_text(SHARED, encoding="utf-8")
    assert explain(str(path), "seed", (), "b", Format.TEXT) == 2
    assert "it has no sequence" in capsys.readouterr().err


def test_a_run_is_compared_with_the_run_of_that_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plan --run b --against JOB`."""
    from compiler.commands.inspect import Shown
    from compiler.commands.inspect import plan as show_plan
    from compiler.job.emit import emit
    from compiler.render.console import PlanFormat

    path = tmp_path / "r.yaml"
    path.write_text(THREE, encoding="utf-8")
    job = emit(compile_recipe(path).expect(), tmp_path / "out")
    assert show_plan(path, ("sequence.b.seed=4",), Shown(run="b", against=job), PlanFormat.TEXT) == 0
    out = capsys.readouterr().out
    assert out.startswith("minimal-b  plan")
    assert "seed  18 -> 4" in out


def test_a_sweep_sums_over_runs(tmp_path: Path) -> None:
    """Time and dollars are those of all runs."""
    from compiler.commands.common import compiled
    from compiler.render.sweep import render_sweep, sweep_csv
    from compiler.sweep import read_axes
    from compiler.sweep import sweep as plans_of

    path = tmp_path / "r.yaml"
    path.write_text(THREE, encoding="utf-8")
    axes = read_axes(["sequence.b.distillation.every=1,9"])
    points = plans_of(axes, lambda chosen: compiled(path, chosen))
    first = points[0].plan
    assert first is not None
    assert first.totals is not None
    assert f"{first.totals.hours}" in sweep_csv(axes, points)
    assert "of all runs of the sequence" in render_sweep(axes, points, Look(120))
