"""Plans of several runs: their order and identity, findings told once, limits and sums over all of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from compiler.commands.common import compiled
from compiler.job.emit import emit
from compiler.job.load_plan import load_plan
from compiler.lineage.teaching import break_even, overhead
from compiler.pipeline import compile_recipe
from compiler.provenance import leaves, lookup
from schemas.diagnostics import DiagnosticsError, Severity
from schemas.fingerprint import fingerprint, resume_key
from schemas.plan import RunPlan
from tests.recipes import MINIMAL, ROOT, compile_text, plan_text

SHARED = MINIMAL + "training: {batch: 8192 tok}\nhardware: {gpu: h100-sxm-80gb}\n"
THREE = SHARED + (
    "distillation: {teacher: {run: previous}, end: 0.2dur}\n"
    "sequence:\n"
    "  - {name: a}\n"
    "  - {name: b, seed: 18}\n"
    "  - {name: c, model: {start: {run: a}}, averaging: {}}\n"
)


def test_runs_are_plans_of_their_own(tmp_path: Path) -> None:
    """Each has its name, its folder's name and its start; the last one holds the others and the sums."""
    plan = plan_text(THREE, tmp_path)
    assert [(run.run, run.name) for run in plan.runs] == [("a", "minimal-a"), ("b", "minimal-b"), ("c", "minimal")]
    assert all(run.earlier == () and run.totals is None for run in plan.earlier)
    first = plan.runs[0]
    assert plan.start is not None
    assert (plan.start.kind, plan.start.run, plan.start.fingerprint) == ("run", "a", first.fingerprint)
    assert plan.decoder == first.decoder
    assert [[a.kind for a in run.algorithms] for run in plan.runs] == [[], ["distillation"], ["distillation", "ema"]]
    for run in plan.runs:
        assert (run.fingerprint, run.resume_key) == (fingerprint(run), resume_key(run))
        for path, _ in leaves(run):
            if path[0] not in {"provenance", "fingerprint", "resume_key", "format_version"}:
                assert lookup(run.provenance, path) is not None, path


def test_a_later_run_leaves_earlier_ones_as_they_are(tmp_path: Path) -> None:
    """Done work stays done: only the changed run and the last one, which holds it, are others."""
    before = [run.fingerprint for run in plan_text(THREE, tmp_path).runs]
    later = [run.fingerprint for run in plan_text(THREE, tmp_path, "sequence.c.seed=3").runs]
    middle = [run.fingerprint for run in plan_text(THREE, tmp_path, "sequence.b.averaging={}").runs]
    assert [a == b for a, b in zip(before, later, strict=True)] == [True, True, False]
    assert [a == b for a, b in zip(before, middle, strict=True)] == [True, False, False]


def test_an_earlier_run_changes_those_that_rest_on_it(tmp_path: Path) -> None:
    """Through the fingerprint of its teacher, or of its start."""
    before = [run.fingerprint for run in plan_text(THREE, tmp_path).runs]
    after = [run.fingerprint for run in plan_text(THREE, tmp_path, "sequence.a.training.optimizer.lr=1e-3").runs]
    assert not set(before) & set(after)


def test_order_of_runs_is_the_recipes(tmp_path: Path) -> None:
    """Another order is another sequence: who teaches whom differs."""
    swapped = THREE.replace("{name: a}", "{name: x}").replace("{name: b, seed: 18}", "{name: a}").replace("x}", "b}")
    assert [run.run for run in plan_text(swapped, tmp_path).runs] == ["b", "a", "c"]
    assert plan_text(swapped, tmp_path).fingerprint != plan_text(THREE, tmp_path).fingerprint


def test_one_run_alone_is_the_recipe_without_a_sequence(tmp_path: Path) -> None:
    """But for its name in the sequence, and sums over one run."""
    alone, listed = plan_text(SHARED, tmp_path), plan_text(SHARED + "sequence: [{name: only}]\n", tmp_path)
    own = {"run", "fingerprint", "provenance", "totals"}
    assert alone.model_dump(exclude=own) == listed.model_dump(exclude=own)
    assert (alone.run, alone.totals, listed.run) == (None, None, "only")
    assert listed.totals is not None
    assert listed.totals.usd == listed.estimate.usd


def test_a_plan_comes_back_whole(tmp_path: Path) -> None:
    """plan.yaml holds all runs; one that was edited inside an earlier run is refused."""
    plan = plan_text(THREE, tmp_path)
    job = emit(plan, tmp_path / "out")
    assert load_plan(job) == plan
    assert RunPlan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan
    text = (job / "plan.yaml").read_text(encoding="utf-8")
    edited = text.replace("  seed: 18\n", "  seed: 19\n", 1)
    assert edited != text
    (job / "plan.yaml").write_text(edited, encoding="utf-8")
    with pytest.raises(DiagnosticsError, match="edited"):
        load_plan(job)


def test_a_mistake_that_all_share_is_told_once(tmp_path: Path) -> None:
    """And one inside a run names it, and its place in the recipe."""
    text = THREE.replace("{name: b, seed: 18}", "{name: b, seed: -1}").replace("1M tok", "1M parrots")
    found = [(f.code, f.path, f.message.partition(":")[0]) for f in compile_text(text, tmp_path).findings]
    shared, own = found
    assert shared[:2] == ("RC106", "budget.tokens")
    assert "run" not in shared[2]
    assert own == ("RC104", "sequence[1].seed", "run `b`")


def test_findings_of_the_passes_name_their_runs_too(tmp_path: Path) -> None:
    """A line of the top level that only some runs can't bear: those are named."""
    text = SHARED + "model: {family: gpt2, size: 1M, dropout: 0.1}\n"
    text = text.replace("model: {size: 1M}\n", "") + "sequence: [{name: a}, {name: b, model: {family: llama}}]\n"
    (found,) = compile_text(text, tmp_path).findings
    assert (found.code, found.path) == ("RC203", "model.dropout")
    assert found.message.startswith("run `b`: ")


def test_after_a_run_without_a_plan_values_are_still_checked(tmp_path: Path) -> None:
    """What depends on it can't be judged, and no finding is made up."""
    text = THREE.replace("{name: a}", "{name: a, data: null}").replace("averaging: {}", "averaging: {start: 9}")
    found = [(f.code, f.path) for f in compile_text(text, tmp_path).findings]
    assert found == [("RC102", "sequence[0].data"), ("RC106", "sequence[2].averaging.start")]


def test_local_data_of_every_run_is_looked_for(tmp_path: Path) -> None:
    """A source that one run alone reads is missing before the launch, not at its turn."""
    path = tmp_path / "r.yaml"
    sources = "{x: {files: nothing/*.md}, code: null, prose: null}"
    text = SHARED + f"sequence: [{{name: a, data: {{sources: {sources}}}}}, {{name: b}}]\n"
    path.write_text(text, encoding="utf-8")
    (found,) = compiled(path, ()).findings
    assert (found.code, found.path) == ("RC401", "sequence[0].data.sources.x.files")
    assert found.message.startswith("run `a`: ")


@pytest.mark.parametrize(("cap", "low", "high"), [("max_cost", "$0.3", "$9"), ("max_hours", "0.12h", "9h")])
def test_limits_of_the_top_level_hold_for_all_runs(tmp_path: Path, cap: str, low: str, high: str) -> None:
    """The sum is compared, and said by run; each run alone is within the limit."""
    (found,) = compile_text(THREE, tmp_path, f"budget.{cap}={low}").findings
    assert (found.code, found.path) == ("RC302", f"budget.{cap}")
    assert "the 3 runs take" in found.message
    assert all(f"`{name}`" in found.reason for name in "abc")
    fixed = found.help.partition(": ")[2]
    assert compile_text(THREE, tmp_path, f"budget.{cap}={fixed}").findings == ()
    totals = plan_text(THREE, tmp_path, f"budget.{cap}={high}").totals
    assert totals is not None
    assert (totals.max_cost_usd, totals.max_seconds) == ((9.0, None) if cap == "max_cost" else (None, 9 * 3600.0))


def test_one_run_that_alone_exceeds_the_limit_of_all(tmp_path: Path) -> None:
    """Is told by the sum, once, rather than once a run."""
    (found,) = compile_text(THREE, tmp_path, "budget.max_cost=$0.01").findings
    assert "the 3 runs take" in found.message


def test_a_limit_of_a_run_holds_for_that_run(tmp_path: Path) -> None:
    """It is the run's own, with changes that would meet it."""
    (found,) = compile_text(THREE, tmp_path, "sequence.b.budget.max_hours=60s").findings
    assert (found.code, found.path) == ("RC302", "sequence[1].budget.max_hours")
    assert found.message.startswith("run `b`: the run takes")
    assert all(run.budget.max_seconds is None for run in plan_text(THREE, tmp_path).runs)


def test_totals_are_sums(tmp_path: Path) -> None:
    """Of hours, dollars and tokens; what serves is the last run's model."""
    plan = plan_text(THREE, tmp_path, "budget.inference={requests: 1M}")
    totals, runs = plan.totals, plan.runs
    assert totals is not None
    assert totals.runs == 3
    assert totals.tokens == sum(run.budget.tokens for run in runs)
    assert totals.usd == pytest.approx(sum(run.estimate.usd for run in runs))
    assert totals.hours_low < totals.hours < totals.hours_high
    assert totals.inference_usd == plan.estimate.inference_usd > 0
    assert totals.lifetime_usd == pytest.approx(totals.usd + totals.inference_usd)


@pytest.mark.parametrize(("duty", "percent"), [(1.0, 33.3), (0.5, 16.7), (0.25, 8.3), (0.2, 6.7), (0.1, 3.3)])
def test_what_a_teacher_of_the_same_size_takes(duty: float, percent: float) -> None:
    """Liu et al. 2023 (arXiv 2303.06480): duty N_T / (3 N), so that a duty of 0.1 to 0.2 is 80 to 90 % less than 1."""
    assert overhead(duty, 1e8, 1e8) * 100 == pytest.approx(percent, abs=0.05)
    more = overhead(duty, 1e8, 1e8)
    assert (1 - break_even(more)) * (1 + more) == pytest.approx(1.0)


def test_teachers_are_accounted_for(tmp_path: Path) -> None:
    """Window, every k-th step and chance multiply; a teacher twice as large takes twice as much."""
    plan = plan_text(THREE, tmp_path)
    assert plan.totals is not None
    second, third = plan.totals.taught
    assert (second.run, second.teachers, third.run, third.teachers) == ("b", ("a",), "c", ("b",))
    assert second.duty == pytest.approx(0.2, abs=1 / plan.training.steps)
    assert second.overhead == pytest.approx(second.duty / 3)
    assert second.teacher_parameters == plan.earlier[0].model.num_parameters
    rare = plan_text(THREE, tmp_path, "distillation.every=4", "distillation.probability=0.5").totals
    assert rare is not None
    assert rare.taught[0].duty == pytest.approx(0.2 / 8, abs=1 / plan.training.steps)
    large = plan_text(THREE, tmp_path, "sequence.a.model.size=4M", "sequence.c.model=null")
    assert large.totals is not None
    ratio = large.earlier[0].model.num_parameters / large.earlier[1].model.num_parameters
    assert large.totals.taught[0].overhead == pytest.approx(large.totals.taught[0].duty * ratio / 3)


def test_the_gallerys_sequence(tmp_path: Path) -> None:
    """Three runs, each taught by the one before it in its first fifth, within a limit for all of them."""
    plan = compile_recipe(ROOT / "recipes" / "kd-sequence.yaml").expect()
    assert plan.totals is not None
    assert [(one.run, one.teachers) for one in plan.totals.taught] == [("medium", ("slow",)), ("fast", ("medium",))]
    assert all(one.overhead == pytest.approx(1 / 15, abs=0.005) for one in plan.totals.taught)
    assert plan.totals.max_seconds == 3600


def test_five_runs_take_little_longer_than_one(tmp_path: Path) -> None:
    """A plan stays instant: four more runs take less than 0.3 s of processor time."""
    five = SHARED + "sequence: [" + ", ".join(f"{{name: r{n}, seed: {n}}}" for n in range(5)) + "]\n"
    plan_text(five, tmp_path)

    def seconds(text: str) -> float:
        begin = time.process_time()
        plan_text(text, tmp_path)
        return time.process_time() - begin

    assert min(seconds(five) for _ in range(3)) - min(seconds(SHARED) for _ in range(3)) < 0.3


def test_json_holds_all_runs(tmp_path: Path) -> None:
    """Programs see `earlier` and `totals`; errors don't leave a part of a plan behind."""
    content = json.loads(plan_text(THREE, tmp_path).model_dump_json(by_alias=True))
    assert [run["run"] for run in content["earlier"]] == ["a", "b"]
    assert content["totals"]["runs"] == 3
    broken = compile_text(THREE, tmp_path, "sequence.a.seed=-1")
    assert broken.plan is None
    assert [f.severity for f in broken.findings] == [Severity.ERROR]
