"""compiler.diff, compiler.render.diff, compiler.job.load_plan: what changed, who changed it, and is a resume legal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from compiler.diff import ABSENT, Change, diff
from compiler.job.emit import emit
from compiler.job.load_plan import is_plan, load_plan
from compiler.render.diff import render_diff
from schemas.diagnostics import DiagnosticsError
from schemas.fingerprint import fingerprint, resume_key
from schemas.plan import FORMAT_VERSION, RunPlan
from tests.factory import tiny_plan
from tests.recipes import MINIMAL, plan_text

EMA = {
    "kind": "ema",
    "window": {"start_token": 0, "end_token": 6144},
    "smoothing": 0.99,
    "update_interval_steps": 1,
}
PRUNING = {
    "kind": "pruning",
    "window": {"start_token": 0, "end_token": 6144},
    "sparsity": 0.5,
    "scope": "layer",
    "interval_steps": 1,
}


def sealed(**changes: Any) -> RunPlan:
    """A tiny plan with the fingerprint and resume key that belong to it."""
    plan = tiny_plan(**changes)
    return plan.model_copy(update={"fingerprint": fingerprint(plan), "resume_key": resume_key(plan)})


def only(old: RunPlan, new: RunPlan) -> Change:
    """The one difference between two plans."""
    (change,) = diff(old, new).changes
    return change


def test_equal_plans() -> None:
    """A plan doesn't differ from itself."""
    assert diff(sealed(), sealed()).changes == ()
    assert render_diff(diff(sealed(), sealed()), "text") == "No differences.\n"


def test_change_that_allows_a_resume() -> None:
    """A learning rate may change between two parts of a run; the recipe's line that did it is named."""
    who = {"training.optimizer.lr": {"origin": "recipe", "where": "demo.yaml:14:9", "reason": ""}}
    new = sealed(training={"optimizer": {**tiny_plan().training.optimizer.model_dump(), "lr": 0.001}}, provenance=who)
    expected = Change("~", "training.optimizer.lr", 0.003, 0.001, "demo.yaml:14:9", "", is_derived=False)
    assert only(sealed(), new) == expected
    assert diff(sealed(), new).counts == (0, 1, 0)


def test_change_that_forbids_a_resume() -> None:
    """Another seed is another order of data; the reason stands with the change and in the verdict."""
    found = diff(sealed(), sealed(seed=18))
    assert [(change.kind, change.path) for change in found.changes] == [("-/+", "seed")]
    assert "order of the data" in found.changes[0].reason
    last = render_diff(found, "text").splitlines()[-1]
    assert last.startswith("Plan: 0 to add, 1 to change, 0 to remove; cannot resume: seed: the order of the data")


def test_many_reasons_are_counted() -> None:
    """A verdict that repeats all of them is no verdict; each stands with its change."""
    new = sealed(seed=18, model={"rope_theta": 5e5, "num_layers": 3, "hidden_size": 64})
    text = render_diff(diff(sealed(), new), "text")

    assert text.splitlines()[-1].endswith("; cannot resume, for 4 reasons.")
    assert text.count("cannot resume: ") == 4


def test_algorithms_are_matched_by_kind() -> None:
    """A technique put in front of another is one addition; the other's own change is found by its kind."""
    old = sealed(algorithms=[PRUNING])
    found = diff(old, sealed(algorithms=[EMA, {**PRUNING, "sparsity": 0.75}]))
    shown = {change.path: (change.old, change.new) for change in found.changes}
    assert shown == {"algorithms.pruning.sparsity": (0.5, 0.75), "algorithms.ema": (ABSENT, EMA)}
    assert found.counts == (1, 1, 0)
    assert diff(sealed(algorithms=[EMA]), sealed()).counts == (0, 0, 1)


def test_two_techniques_of_one_kind() -> None:
    """The second one has a number, so a change in it isn't taken for one in the first."""
    second = {**PRUNING, "scope": "global"}
    change = only(sealed(algorithms=[PRUNING, second]), sealed(algorithms=[PRUNING, {**second, "sparsity": 0.9}]))
    assert change.path == "algorithms.pruning-2.sparsity"


def test_place_of_a_list_s_entry_is_found_by_its_index() -> None:
    """Entries are shown by id; who set them is looked up where the plan keeps it, by index."""
    phase = tiny_plan().data.phases[0].model_dump(mode="json")
    phase["sources"] = {"code": {"samples": 48, "tokens": 3072}, "prose": {"samples": 48, "tokens": 3072}}
    who = {"data.phases[0].sources": {"origin": "pass", "where": "data", "reason": "largest remainder"}}
    found = diff(sealed(), sealed(data={"phases": [phase]}, provenance=who))
    assert [change.path for change in found.changes] == [
        "data.phases.phase0.sources.code.samples",
        "data.phases.phase0.sources.code.tokens",
        "data.phases.phase0.sources.prose.samples",
        "data.phases.phase0.sources.prose.tokens",
    ]
    assert {change.place for change in found.changes} == {"pass data"}
    assert {change.kind for change in found.changes} == {"-/+"}


def test_source_of_another_kind_is_one_change() -> None:
    """A source that is now read from files is replaced as a whole, not key by key."""
    sources = {"code": {"files": "src/**/*.py"}, "prose": {"builtin": "cpython-docs"}}
    change = only(sealed(), sealed(data={"sources": sources}))
    assert (change.kind, change.path) == ("-/+", "data.sources.code")


def test_estimates_come_last_and_decide_nothing() -> None:
    """What follows from other values is shown at the end, dimmed, and isn't counted."""
    new = sealed(estimate={"hours": 2.0}, logging={"console": False})
    found = diff(sealed(), new)
    assert [change.path for change in found.changes] == ["logging.console", "estimate.hours"]
    assert found.counts == (0, 1, 0)
    assert "\x1b[2m" in render_diff(found, "text", color=True).splitlines()[2]
    assert "\x1b" not in render_diff(found, "text", color=False)


def test_text_is_pinned() -> None:
    """The whole picture, as people see it."""
    who = {
        "checkpoints": {"origin": "default", "where": "checkpoints", "reason": ""},
        "model": {"origin": "recipe", "where": "r.yaml:3:8", "reason": ""},
    }
    old = sealed(estimate={"usd": 0.1})
    new = sealed(
        checkpoints={"max_shard_bytes": 10_000_000, "export": False}, model={"rope_theta": 5e5}, provenance=who
    )
    assert render_diff(diff(old, new), "text", width=90) == (
        f"tiny  plan {new.short_fingerprint} (was {old.short_fingerprint})   6.144k tok = 12 steps x 512 tok\n"
        "  -/+ model.rope_theta             10000 -> 500000              r.yaml:3:8\n"
        "                                   cannot resume: positions would mean something else to the trained weights\n"
        "    ~ checkpoints.export           true -> false                default\n"
        "    ~ checkpoints.max_shard_bytes  5 000 000 000 -> 10 000 000  default\n"
        "    ~ estimate.usd  $0.10 -> $0.00  -100 %\n"
        "Plan: 0 to add, 3 to change, 0 to remove; cannot resume: model.rope_theta: positions would mean something "
        "else to the trained weights.\n"
    )


def changed_future() -> RunPlan:
    """The tiny plan with another mix in its last third."""
    phases = [
        {"id": "phase0", "start_token": 0, "end_token": 4096, "sources": {"code": _share(48), "prose": _share(16)}},
        {"id": "phase1", "start_token": 4096, "end_token": 6144, "sources": {"prose": _share(32)}},
    ]
    return sealed(data={"phases": phases})


def _share(samples: int) -> dict[str, int]:
    return {"samples": samples, "tokens": samples * 64}


def test_until_when_a_checkpoint_can_be_continued() -> None:
    """A future phase may change: the verdict says up to which step, and no change of it forbids a resume."""
    found = diff(sealed(), changed_future())
    assert "-/+" not in {change.kind for change in found.changes}
    assert found.last_step == 8
    text = render_diff(found, "text")
    assert text.splitlines()[-1].endswith("checkpoints up to step 8 of 12 can be continued.")
    resume = json.loads(render_diff(found, "json"))["resume"]
    assert resume == {"is_legal": True, "last_step": 8, "reasons": []}
    resume = json.loads(render_diff(diff(sealed(), sealed(seed=18)), "json"))["resume"]
    assert (resume["is_legal"], resume["last_step"]) == (False, 0)


def test_a_transition_is_one_line_of_the_text(tmp_path: Path) -> None:
    """Its pieces are phases of the plan, up to a hundred; programs see them all."""
    knots = "mixture=[{weights: {code: 1}}, {from: 0.5dur, weights: {prose: 1}, transition: %s}]"
    old, new = (plan_text(MINIMAL, tmp_path, f"data.{knots % kind}") for kind in ("linear", "cosine"))
    lines = [line for line in render_diff(diff(old, new), "text").splitlines() if "phases" in line]
    assert len(lines) == 1
    assert '~ data.phases  "101 phases" -> "101 phases, ' in lines[0]
    assert len(json.loads(render_diff(diff(old, new), "json"))["changes"]) > 100


def test_a_run_that_becomes_longer_takes_another_schedule() -> None:
    """Allowed, and said: the learning rate goes on along the new curve, which may be a jump."""
    training = {"schedule": {**tiny_plan().training.schedule.model_dump(), "final_fraction": 0.5}}
    text = render_diff(diff(sealed(), sealed(training=training)), "text")
    assert (
        text.splitlines()[-2].strip()
        == "A resumed run takes the new schedule of the learning rate from its first step on."
    )
    assert text.splitlines()[-1].endswith("a resume is legal.")


def test_outcomes_say_what_became_of_them() -> None:
    """Speed, memory, time and money with their change; up is bad but for speed, and what follows from them is counted."""
    old = sealed(estimate={"usd": 324.0, "hours": 16.2, "tokens_per_s_per_gpu": 80_000.0, "usd_low": 249.0})
    new = sealed(estimate={"usd": 421.2, "hours": 14.1, "tokens_per_s_per_gpu": 92_000.0, "usd_low": 310.0})
    lines = render_diff(diff(old, new), "text", color=True).splitlines()

    shown = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in lines[1:-1]]
    assert shown == [
        "    ~ estimate.tokens_per_s_per_gpu  80k -> 92k        +15 %",
        "    ~ estimate.hours                 16.2 h -> 14.1 h  -13 %",
        "    ~ estimate.usd                   $324 -> $421      +30 %",
        "      and 1 more that follow, such as parts and intervals: --format json shows all",
    ]
    assert ["\x1b[32m" in line for line in lines[1:4]] == [True, True, False]
    assert "\x1b[31m+30 %" in lines[3]


def test_a_budget_follows_from_what_is_said() -> None:
    """Another law is a decision; the loss that it expects is none."""
    found = diff(sealed(), sealed(budget={"scaling_law": "sardana", "loss": 5.5}))

    assert [(change.path, change.is_derived) for change in found.changes] == [
        ("budget.scaling_law", False),
        ("budget.loss", True),
    ]
    assert "6.000 -> 5.500  -8.3 %" in render_diff(found, "text")


def test_values_that_differ_in_the_last_digits_are_shown_in_full() -> None:
    """Six digits are enough, unless they would be the same on both sides; one reason stands once for neighbours."""
    phase = tiny_plan().data.phases[0].model_dump(mode="json")
    phase["sources"] = {"code": {"samples": 48, "tokens": 3072}, "prose": {"samples": 48, "tokens": 3072}}
    text = render_diff(diff(sealed(), sealed(budget={"loss": 6.0000000001}, data={"phases": [phase]})), "text")
    assert "6.0 -> 6.0000000001" in text
    assert text.count("cannot resume: the order of the samples") == 1


def test_json_leaves_out_what_is_absent() -> None:
    """Programs see plain values; a missing side has no key, while null is a value."""
    found = diff(sealed(), sealed(algorithms=[EMA], execution={"threads": 2}))
    document = json.loads(render_diff(found, "json"))
    assert (document["format_version"], document["added"], document["changed"], document["removed"]) == ("1.2", 1, 1, 0)
    assert document["resume"]["is_legal"] is False
    changes = {change["path"]: change for change in document["changes"]}
    assert "old" not in changes["algorithms.ema"]
    assert (changes["execution.threads"]["old"], changes["execution.threads"]["new"]) == (None, 2)


def test_what_format_json_printed_is_a_plan_under_any_name(tmp_path: Path) -> None:
    """`plan --format json > old.json` is kept to be compared with; a recipe of any name is none."""
    plan = plan_text(MINIMAL, tmp_path)
    old = tmp_path / "old.json"
    old.write_text(plan.model_dump_json(by_alias=True, indent=2), encoding="utf-8")

    assert is_plan(old)
    assert load_plan(old) == plan
    assert not is_plan(tmp_path / "recipe.yaml")
    assert not is_plan(tmp_path / "missing.yaml")


def test_load_plan_reads_file_and_folder(tmp_path: Path) -> None:
    """What was emitted comes back equal, from the folder or from its plan.yaml."""
    plan = sealed(algorithms=[EMA])
    job = emit(plan, tmp_path)
    assert load_plan(job) == plan
    assert load_plan(job / "plan.yaml") == plan


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[: len(text) // 2], "RC605"),
        (lambda text: text.replace("lr: 0.003", "lr: 0.03"), "was edited"),
        (
            lambda text: text.replace(f'format_version: "{FORMAT_VERSION}"', 'format_version: "99.0"'),
            "format version '99.0'",
        ),
        (lambda text: text.replace("seed: 17", "seed: 17\nunknown: 1"), "unknown: Extra inputs"),
        (lambda _: "a: [1", "not valid YAML"),
        (lambda _: "a: 1\na: 2", r"not valid YAML \(line 2\)"),
        (lambda _: "[]", "holds no plan"),
        (lambda _: "", "holds no plan"),
        (lambda _: "!!python/object/apply:os.system [exit]", "RC605"),
        (lambda _: "[" * 5000, "not valid YAML"),
        (lambda _: "\x00", "not valid YAML"),
    ],
)
def test_damaged_plans_are_refused(tmp_path: Path, change: Any, reason: str) -> None:
    """Truncated, edited, foreign: each is a diagnostic that names the file, never a traceback."""
    file = emit(sealed(), tmp_path) / "plan.yaml"
    file.write_text(change(file.read_text()))
    with pytest.raises(DiagnosticsError, match=reason) as caught:
        load_plan(file)
    (finding,) = caught.value.diagnostics
    assert finding.code == "RC605"
    assert str(file) in finding.message


def test_missing_plan(tmp_path: Path) -> None:
    """A path that leads to nothing is said to."""
    with pytest.raises(DiagnosticsError, match=r"RC001 .*plan\.yaml: No such file"):
        load_plan(tmp_path)
