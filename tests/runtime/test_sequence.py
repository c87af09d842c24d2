"""Sequences of runs: each begins with the weights of one before it, and kills, changes and caps leave what is done alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime import lineage
from runtime.cap_error import cap_error
from runtime.load import load_plan
from runtime.models.planned import initial_model, load_trained
from runtime.spend import Meter, Spend, read_spend, spent_before
from runtime.steps import tokenizer
from runtime.steps.base import Context
from schemas.plan import RunPlan, SequenceTotals
from tests.runtime.interruption import interrupted_after
from tests.runtime.sequence_case import layout_of, run_of, run_plan, sequence, start_process

EMA = {"kind": "ema", "window": {"start_token": 0, "end_token": 2048}, "smoothing": 0.7, "update_interval_steps": 1}


def two(steps: int = 4, **second: Any) -> RunPlan:
    """Two runs, the second with the weights of the first."""
    return sequence(run_of("first"), run_of("second", steps, after="first", seed=5, **second))


def weights(plan: RunPlan, folder: Path) -> dict[str, torch.Tensor]:
    """Finished weights of a run that lineage.plans gave."""
    state: dict[str, torch.Tensor] = load_trained(plan, layout_of(plan, folder)).state_dict()
    return state


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_each_run_begins_with_the_last_bit_of_its_start(tmp_path: Path) -> None:
    """Three runs, of which the first averages its weights: the average is what the others begin with, by name."""
    plan = sequence(
        run_of("first", algorithms=[EMA]),
        run_of("second", after="first", seed=5),
        run_of("third", after="first", seed=6),
    )
    assert run_plan(plan, tmp_path) == 0
    first, second, third = lineage.plans(plan)
    begun = initial_model(second, layout_of(second, tmp_path)).state_dict()
    assert same(begun, weights(first, tmp_path))
    assert same(begun, initial_model(third, layout_of(third, tmp_path)).state_dict())
    assert not same(begun, weights(second, tmp_path))
    assert not same(weights(second, tmp_path), weights(third, tmp_path))
    losses = [
        json.loads(layout_of(run, tmp_path).metrics.read_text().splitlines()[0])["loss"] for run in (first, second)
    ]
    assert losses[1] < losses[0] - 0.01


def test_what_is_done_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same plan: all reused. A changed second run: the first stays, the second has a folder of its own."""
    plan = two()
    assert run_plan(plan, tmp_path) == 0
    first, second = lineage.plans(plan)
    written = layout_of(first, tmp_path).step_result("train").read_text()
    capsys.readouterr()
    assert run_plan(plan, tmp_path) == 0
    out = capsys.readouterr().out
    assert out.count("train: nothing has changed, reused") == 2
    assert "run_report.json" not in out[: out.index("run 2/2")]
    changed = two(
        precision={"param": "fp32"}, training={"optimizer": {**second.training.optimizer.model_dump(), "lr": 0.001}}
    )
    assert lineage.plans(changed)[0].fingerprint == first.fingerprint
    assert run_plan(changed, tmp_path) == 0
    out = capsys.readouterr().out
    assert out.count("train: nothing has changed, reused") == 1
    assert out.index("reused") < out.index("run 2/2 second")
    record = json.loads(layout_of(first, tmp_path).step_result("train").read_text())
    assert {**record, "reused": False} == json.loads(written)
    assert len([path for path in (tmp_path / "runs").glob("case-second-*") if path.is_dir()]) == 2


@pytest.mark.parametrize("kill", ["first:2", "first:end", "second:3"])
def test_a_killed_sequence_goes_on_to_the_same_last_bit(tmp_path: Path, kill: str) -> None:
    """SIGKILL inside the first run, between the two, inside the second; then the same command."""
    plan = two(checkpoints={"interval_steps": 2, "keep": 2})
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert run_plan(plan, straight) == 0
    died = start_process(plan, killed, kill=kill)
    assert died.returncode == -9, died.stderr
    first, second = lineage.plans(plan)
    assert layout_of(second, killed).checkpoints.exists() == (kill == "second:3")
    assert run_plan(plan, killed) == 0
    for run in (first, second):
        assert same(weights(run, straight), weights(run, killed))
    record = json.loads(layout_of(second, killed).step_result("train").read_text())
    assert record["values"]["resumed_from"] == (2 if kill == "second:3" else None)


def test_a_signal_stops_the_sequence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """SIGTERM in the first run: it saves, exit code 0, and no later run begins."""
    plan = two()
    with interrupted_after(2):
        assert run_plan(plan, tmp_path) == 0
    first, second = lineage.plans(plan)
    assert json.loads((layout_of(first, tmp_path).run / "status.json").read_text())["state"] == "interrupted"
    assert not layout_of(second, tmp_path).run.exists()
    assert run_plan(plan, tmp_path) == 0
    assert json.loads(layout_of(first, tmp_path).step_result("train").read_text())["values"]["resumed_from"] == 2
    assert layout_of(second, tmp_path).step_result("train").exists()


def test_one_run_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--run` does one; what it starts from must be done, which is told before anything is."""
    plan = two()
    assert run_plan(plan, tmp_path, "--run", "second") == 3
    told = capsys.readouterr().err
    assert "error[RC606]: the run `second` needs the run `first`, which has not been trained" in told
    assert "--run first" in told
    assert not (tmp_path / "runs" / "cache").exists()
    assert run_plan(plan, tmp_path, "--run", "second", "--steps", "before-train") == 0
    assert run_plan(plan, tmp_path, "--run", "first") == 0
    assert not layout_of(lineage.plans(plan)[1], tmp_path).checkpoints.exists()
    assert run_plan(plan, tmp_path, "--run", "second", "--steps", "train") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "thrid"), "no run 'thrid'; choose from first, second"),
        (("--steps", "evaluate"), "no step 'evaluate'"),
        (("--resume-from", "elsewhere"), "say which with --run"),
    ],
)
def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, before anything is written."""
    with pytest.raises(SystemExit) as caught:
        run_plan(two(), tmp_path, *arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_several_processes_train_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under torchrun a run must be named: launch scripts do one after the other."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        run_plan(two(), tmp_path)
    assert "several processes train one run" in capsys.readouterr().err


def test_two_ranks_begin_with_the_same_weights(tmp_path: Path) -> None:
    """As launch scripts do it: data and the first run in one process, the second run's training under torchrun."""
    plan = two()
    one, several = tmp_path / "one", tmp_path / "several"
    for folder in (one, several):
        assert run_plan(plan, folder, "--run", "first") == 0
        assert run_plan(plan, folder, "--run", "second", "--steps", "before-train") == 0
    assert run_plan(plan, one, "--run", "second", "--steps", "train") == 0
    trained = start_process(plan, several, "--run", "second", "--steps", "train", ranks=2)
    assert trained.returncode == 0, trained.stderr
    second = lineage.plans(plan)[1]
    found = [json.loads(layout_of(second, f).step_result("train").read_text())["values"] for f in (one, several)]
    assert [values["world_size"] for values in found] == [1, 2]
    assert found[0]["initial_loss"] == pytest.approx(found[1]["initial_loss"], rel=1e-6)
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-5)


def test_what_a_later_run_lacks_is_told_before_the_first_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher that isn't there, three runs ahead."""
    taught = {
        "kind": "distillation", "window": {"start_token": 0, "end_token": 2048}, "teachers": [{"folder": "nowhere"}],
        "temperature": 1.0, "weight": 0.5,
    }  # fmt: skip
    plan = sequence(
        run_of("first"), run_of("second", after="first"), run_of("third", after="second", algorithms=[taught])
    )
    assert run_plan(plan, tmp_path) == 1
    assert "there is no teacher `nowhere`" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "cache").exists()


def test_a_start_that_was_trained_anew_is_another_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checkpoints of the second run are never continued on other weights than they began with."""
    plan = two()
    assert run_plan(plan, tmp_path) == 0
    first, _ = lineage.plans(plan)
    place = layout_of(first, tmp_path).step_result("train")
    record = json.loads(place.read_text())
    place.write_text(json.dumps({**record, "key": "0" * 64}))
    assert run_plan(plan, tmp_path, "--run", "second") == 4
    assert "the weights that it starts from" in capsys.readouterr().err


def test_an_edited_run_of_a_plan_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fingerprints of all runs are checked at the door."""
    plan = two()
    edited = plan.earlier[0].model_copy(update={"seed": 18})
    assert run_plan(plan.model_copy(update={"earlier": (edited,)}), tmp_path) == 1
    assert "error[RC605]" in capsys.readouterr().err


def capped(**totals: Any) -> RunPlan:
    """Two runs at a dollar a second, with caps of both together."""
    nothing = dict.fromkeys(
        ("tokens", "train_flops", "hours", "hours_low", "hours_high", "usd", "usd_low", "usd_high", "energy_kwh",
         "co2e_kg", "inference_usd", "lifetime_usd"), 0,
    )  # fmt: skip
    found = SequenceTotals.model_validate(
        {**nothing, "runs": 2, "max_cost_usd": None, "max_seconds": None, "taught": (), **totals}
    )
    price = {"usd_per_gpu_hour": 3600.0}
    return sequence(run_of("first", hardware=price), run_of("second", after="first", hardware=price), totals=found)


def test_what_earlier_runs_spent_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cap of the whole sequence stops the second run for what the first one cost; a raised one lets it go on."""
    free = capped()
    assert run_plan(free, tmp_path, "--run", "first") == 0
    first, second = lineage.plans(free)
    spent = read_spend(layout_of(first, tmp_path).spend)
    assert spent is not None
    assert spent_before(second, layout_of(second, tmp_path)) == spent
    assert spent_before(first, layout_of(first, tmp_path)) == Spend()

    tight = capped(max_cost_usd=spent.usd + 0.001)
    assert [run.fingerprint for run in tight.runs] == [run.fingerprint for run in free.runs]
    capsys.readouterr()
    assert run_plan(tight, tmp_path) == 3
    told = capsys.readouterr().err
    assert "error[RC608]" in told
    assert "of `max_cost`; the runs before it $" in told
    assert json.loads((layout_of(second, tmp_path).run / "status.json").read_text())["state"] == "capped"
    assert run_plan(capped(max_cost_usd=1e6), tmp_path) == 0


def test_caps_of_all_runs_and_of_one(tmp_path: Path) -> None:
    """What binds is the smaller of a run's own cap and what earlier runs left of the one of all."""
    _, second = lineage.plans(capped(max_cost_usd=10.0, max_seconds=50.0))
    second = second.model_copy(update={"budget": second.budget.model_copy(update={"max_cost_usd": 7.0})})
    for carried, refused in ((2.0, None), (9.999, None), (10.0, "max_cost"), (12.0, "max_cost")):
        meter = Meter(tmp_path / "spend.json", second, 1, before=Spend(), carried=Spend(carried, carried, carried))
        assert meter.refuses() == refused
    assert Meter(tmp_path / "s", second, 1, before=Spend(8.0, 8.0, 8.0)).refuses() == "max_cost"
    assert Meter(tmp_path / "s", second, 1, before=Spend(1.0, 1.0, 1.0), carried=Spend(49.0)).refuses() == "max_hours"
    error = cap_error(second, Spend(3.0, 3.0, 3.0, "max_cost", 4.0), 2, 3.0, Spend(6.0, 6.0, 6.0))
    assert "training has spent $9.00 of the $10.00 of `max_cost`; the runs before it $6.00 of that" in error.message
    # $6 of the run before, $3 for 2 of 4 batches, $3 for the others; and 5 % more.
    assert "`max_cost: $13`" in error.remedy


def test_a_run_reads_with_the_tokenizer_of_its_start(tmp_path: Path) -> None:
    """On other sources too: the tokenizer step of both is one, found in the cache."""
    other = {"sources": {"code": {"builtin": "cpython-library"}, "prose": {"files": "nowhere/*.txt"}}}
    plan = sequence(run_of("first"), run_of("second", after="first", data=other), run_of("third", data=other))
    first, second, third = lineage.plans(plan)
    assert lineage.reads_like(second).run == "first"
    assert lineage.reads_like(third).run == "third"
    step = first.steps[0]
    keys = [tokenizer.identity(step, Context(run, layout_of(run, tmp_path)), {}) for run in (first, second)]
    assert keys[0] == keys[1]


def test_the_report_is_in_the_last_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One table of all runs on the screen, in JSON and as a page; a run inside of the sequence has none."""
    plan = two()
    assert run_plan(plan, tmp_path) == 0
    first, second = lineage.plans(plan)
    out = capsys.readouterr().out
    assert out.index("run 1/2 first") < out.index("run 2/2 second") < out.index("together  4.096k tokens")
    place = layout_of(second, tmp_path)
    stored = json.loads(place.sequence_report.read_text())
    assert [stage["run"] for stage in stored["stages"]] == ["first", "second"]
    assert stored["stages"][1]["starts_from"] == "first"
    assert place.page.read_text().startswith("<!doctype html>")
    assert not layout_of(first, tmp_path).page.exists()
    assert load_plan(layout_of(first, tmp_path).run / "plan.yaml").fingerprint == first.fingerprint
    assert load_plan(place.run / "plan.yaml") == plan
