"""Spend and caps: the books over sessions, stopping with a checkpoint, going on under a raised cap to the same last bit."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime import __main__ as command
from runtime import spend
from runtime.cap_error import cap_error
from runtime.checkpoint import Progress, save
from runtime.errors import RunFailed
from runtime.execute import execute
from runtime.models.planned import load_trained
from runtime.spend import Meter, Spend, open_books, read_spend
from schemas.fingerprint import fingerprint, resume_key
from schemas.plan import RunPlan
from tests.factory import tiny_plan
from tests.runtime.plans import light_modules, sealed_plan, write_plan
from tests.runtime.test_train import without_timing
from tests.runtime.training_case import layout_of, plan_of, start, train

# Seconds cost dollars.
PRICE = {"usd_per_gpu_hour": 3600.0}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def wait_for(reached: Callable[[], bool]) -> bool:
    """Whether it happens within ten seconds."""
    end = time.monotonic() + 10
    while not reached():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def priced(steps: int = 12, **budget: Any) -> RunPlan:
    """The tiny plan at a dollar a second, with caps."""
    plan = plan_of(steps, hardware=PRICE)
    return plan.model_copy(update={"budget": plan.budget.model_copy(update=budget)})


def test_sessions_add_up(tmp_path: Path) -> None:
    """Seconds, seconds of devices, dollars: each session at its own number of devices and price."""
    path, clock = tmp_path / "spend.json", Clock()
    for devices, price, seconds in ((2, 3600.0, 10.0), (1, 7200.0, 5.0)):
        plan = tiny_plan(hardware={"usd_per_gpu_hour": price})
        with Meter(path, plan, devices, clock):
            clock.now += seconds
    assert read_spend(path) == Spend(seconds=15.0, device_seconds=25.0, usd=30.0)


def test_a_killed_session_is_in_the_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written all the time, not only at the end or after a batch: a start or an evaluation may take minutes."""
    monkeypatch.setattr(spend, "_WRITE_SECONDS", 0.001)
    path, clock = tmp_path / "spend.json", Clock()
    with Meter(path, priced(), 1, clock):
        assert read_spend(path) == Spend()
        clock.now += 7
        assert wait_for(lambda: (read_spend(path) or Spend()).usd == pytest.approx(7.0))


def test_no_step_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch costs arithmetic, even where the disk takes seconds for a file."""
    clock = Clock()
    with Meter(tmp_path / "spend.json", priced(), 1, clock) as meter:
        monkeypatch.setattr(spend, "write_json", lambda *_: pytest.fail("written in a batch"))
        for _ in range(10):
            clock.now += 100
            assert meter.batch_ended() is None
        monkeypatch.undo()


def test_books_that_cannot_be_written_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is paid for, or after the batch in which it is noticed; but never in place of another error."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunFailed) as caught, Meter(tmp_path / "folder", priced(), 1):
        pytest.fail("begun")
    assert caught.value.code == "RC604"

    def fail(*_: object) -> None:
        raise RunFailed("RC604", "the disk is full", "free space")

    def fails(meter: Meter) -> bool:
        with contextlib.suppress(RunFailed):
            meter.batch_ended()
            return False
        return True

    def train_on_a_full_disk() -> None:
        with Meter(tmp_path / "spend.json", priced(), 1) as meter:
            monkeypatch.setattr(spend, "write_json", fail)
            assert wait_for(lambda: fails(meter))
            raise KeyError

    monkeypatch.setattr(spend, "_WRITE_SECONDS", 0.001)
    with pytest.raises(KeyError):
        train_on_a_full_disk()


def test_the_run_is_stopped_before_a_cap_is_passed(tmp_path: Path) -> None:
    """When the longest batch so far, once more, would pass it; for dollars and for hours."""
    for plan, name in ((priced(max_cost_usd=10.0), "max_cost"), (priced(max_seconds=10.0), "max_hours")):
        clock = Clock()
        meter = Meter(tmp_path / name, plan, 1, clock)
        with meter:
            stopped = []
            for seconds in (0.5, 2.0, 3.0, 1.0, 1.0, 1.0):
                clock.now += seconds
                stopped.append(meter.batch_ended())
        assert stopped == [None, None, None, None, name, name]  # 7.5 s spent, 3 s more would pass 10


def test_a_price_of_zero_never_reaches_its_cap(tmp_path: Path) -> None:
    """What costs nothing may go on for ever; hours are counted all the same."""
    clock = Clock()
    plan = tiny_plan(budget={"max_cost_usd": 1e-6, "tokens": 6144})
    with Meter(tmp_path / "spend.json", plan, 8, clock) as meter:
        clock.now += 1e6
        assert meter.batch_ended() is None
    assert read_spend(tmp_path / "spend.json") == Spend(seconds=1e6, device_seconds=8e6)


@pytest.mark.parametrize("text", ["", "[]", '{"usd": "x"}', '{"usd": -1.0}', '{"other": 1}', '{"seconds": 1e999}'])
def test_damaged_books_begin_anew(tmp_path: Path, text: str) -> None:
    """A file that is no ledger doesn't stop the run."""
    path = tmp_path / "spend.json"
    path.write_text(text)
    assert read_spend(path) is None
    assert open_books(path, tmp_path / "checkpoints", priced()) == Spend()


@pytest.mark.parametrize("lost", ["", None])
def test_lost_books_are_made_again_from_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str | None
) -> None:
    """A run whose books are damaged or gone has not cost nothing: two ranks trained 3.5 seconds at a dollar each."""
    path, checkpoints = tmp_path / "spend.json", tmp_path / "checkpoints"
    if lost is not None:
        path.write_text(lost)
    save(checkpoints, priced(), {}, Progress(5, 2560, 2560, 3.5, 6.0, 5.0, {"code": 30, "prose": 10}), 2)
    assert open_books(path, checkpoints, priced()) == Spend(3.5, 7.0, 7.0)
    assert "counted are $7.00 for the 3.5 s of training in its newest checkpoint" in capsys.readouterr().out


def test_a_new_run_says_nothing_of_books(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was lost where nothing was."""
    assert open_books(tmp_path / "spend.json", tmp_path / "checkpoints", priced()) == Spend()
    assert capsys.readouterr().out == ""


def test_what_was_stopped_is_not_begun_under_the_same_cap(tmp_path: Path) -> None:
    """Each attempt would cost its start; a raised cap, or none, lets it go on."""
    path, clock = tmp_path / "spend.json", Clock()
    with Meter(path, priced(max_cost_usd=10.0), 1, clock) as meter:
        clock.now += 9
        meter.stop("max_cost")
    assert Meter(path, priced(max_cost_usd=10.0), 1, clock).refuses() == "max_cost"
    assert Meter(path, priced(max_cost_usd=9.5), 1, clock).refuses() == "max_cost"
    assert Meter(path, priced(max_cost_usd=20.0), 1, clock).refuses() is None
    assert Meter(path, priced(), 1, clock).refuses() is None
    assert Meter(path, priced(max_seconds=9.0), 1, clock).refuses() == "max_hours"


def test_the_end_at_a_cap_says_how_to_go_on() -> None:
    """Spent, cap, batch, and a line that is enough at this pace: $9 for 3 of 12 batches need $36, and 5 % more."""
    error = cap_error(priced(max_cost_usd=10.0), Spend(9.0, 9.0, 9.0, "max_cost", 10.0), 3)
    assert (error.code, error.exit_code) == ("RC608", 3)
    assert "$9.00 of the $10.00 of `max_cost`; it stopped at batch 3 of 12, which is saved" in error.message
    assert "`max_cost: $38`" in error.remedy
    week = cap_error(priced(max_seconds=7e5), Spend(6e5, 6e5, 6e5, "max_hours", 7e5), 3)
    assert "`max_hours: 700h`" in week.remedy
    # A start of 6 s counts once more, not for each batch: 9 + 3 / 3 x 9 + 6; and at another price the rest costs that.
    assert (
        "`max_cost: $26`" in cap_error(priced(max_cost_usd=10.0), Spend(9.0, 9.0, 9.0, "max_cost", 10.0), 3, 3.0).remedy
    )
    dearer = plan_of(12, hardware={"usd_per_gpu_hour": 7200.0})
    assert "`max_cost: $41`" in cap_error(dearer, Spend(9.0, 9.0, 9.0, "max_cost", 10.0), 3, 3.0).remedy
    assert "max_hours: 38s" in cap_error(priced(max_seconds=10.0), Spend(9.0, 9.0, 9.0, "max_hours", 10.0), 3).remedy


def test_a_raised_cap_goes_on_to_the_same_last_bit(tmp_path: Path) -> None:
    """Stopped after its first batch, refused once, raised, finished: losses, draws and weights are the undisturbed run's."""
    straight, capped = tmp_path / "straight", tmp_path / "capped"
    plan = priced(max_cost_usd=0.01)
    raised = priced(max_cost_usd=1e6)
    assert fingerprint(plan) == fingerprint(raised)
    assert resume_key(plan) == resume_key(raised)
    expected = train(priced(), straight)

    stopped = train(plan, capped)
    assert (stopped["status"], stopped["steps"]) == ("capped", 1)
    assert (layout_of(plan, capped).checkpoints / "ba00000001").is_dir()
    assert stopped["spend"]["stopped_by"] == "max_cost"
    again = train(plan, capped)
    assert (again["status"], again["steps"], again["spend"]) == ("capped", 1, stopped["spend"])
    values = train(raised, capped)
    assert values["spend"]["stopped_by"] is None
    assert (values["status"], values["resumed_from"]) == ("finished", 1)
    assert values["spend"]["usd"] > stopped["spend"]["usd"]
    assert without_timing(values) == without_timing(expected)
    # Done is done: no cap stops it, although it has cost more than this one by now.
    done = train(plan, capped)
    assert (done["status"], done["spend"]["stopped_by"]) == ("finished", None)
    left, right = (load_trained(plan, layout_of(plan, folder)).state_dict() for folder in (straight, capped))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_without_a_checkpoint_the_cap_is_an_error(tmp_path: Path) -> None:
    """Sessions that were killed before their first batch have spent it all."""
    plan = priced(max_seconds=60.0)
    layout = layout_of(plan, tmp_path)
    layout.run.mkdir(parents=True)
    layout.spend.write_text(json.dumps({"seconds": 61.0, "device_seconds": 61.0, "usd": 61.0}))
    with pytest.raises(RunFailed, match="before a batch was done") as caught:
        train(plan, tmp_path)
    assert caught.value.code == "RC608"


def test_more_devices_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts more processes than the recipe allows is told before any is paid for."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(RunFailed, match="4 processes were started, and `max_gpus` allows 2") as caught:
        train(priced(max_gpus=2), tmp_path)
    assert caught.value.code == "RC608"
    assert not layout_of(priced(), tmp_path).spend.exists()


def test_two_ranks_stop_after_the_same_batch(tmp_path: Path) -> None:
    """The first rank's books stop both, each with its part of one checkpoint; twice the devices, twice the dollars."""
    plan = priced(max_cost_usd=0.01)
    process = start(plan, tmp_path, ranks=2)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    values = json.loads(out.splitlines()[-1])
    assert (values["status"], values["steps"], values["world_size"]) == ("capped", 1, 2)
    assert values["spend"]["device_seconds"] == pytest.approx(2 * values["spend"]["seconds"])
    assert [path.name for path in layout_of(plan, tmp_path).checkpoints.iterdir()] == ["ba00000001"]


def test_the_command_ends_with_3_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """status.json says capped, so that no scheduler queues it again; run_report.json has the spend; evaluation waits."""
    steps, modules = light_modules()
    books = Spend(9.0, 9.0, 9.0, "max_cost", 10.0)
    steps["train"].values |= {"status": "capped", "steps": 3, "spend": books.values()}
    monkeypatch.setattr(command, "execute", lambda *args, **names: execute(*args, **names, modules=modules))
    plan = sealed_plan(hardware=PRICE, budget={"max_cost_usd": 10.0, "tokens": 6144})
    path = write_plan(plan, tmp_path / "plan.yaml")
    assert command.main([str(path), "--root", str(tmp_path), "--runs", str(tmp_path / "runs")]) == 3
    assert steps["evaluate"].runs == []
    shown = capsys.readouterr().err
    assert "error[RC608]: training has spent $9.00 of the $10.00 of `max_cost`" in shown
    assert "  = help: `max_cost: $27`" in shown
    layout = layout_of(plan, tmp_path)
    assert json.loads((layout.run / "status.json").read_text())["state"] == "capped"
    shown_spend = json.loads(layout.report.read_text())["spend"]
    assert (shown_spend["usd"]["actual"], shown_spend["max_usd"], shown_spend["stopped_by"]) == (9.0, 10.0, "max_cost")
