"""The training step as a whole: books, resumption after kills and signals, several ranks, and refusals before it begins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.checkpoint import Progress
from runtime.errors import DataError, RunFailed
from runtime.models.planned import flops_per_token, load_trained
from runtime.steps.train import result
from schemas.forecast import TechniqueCost
from schemas.plan import RunPlan
from tests.runtime.interruption import interrupted_after
from tests.runtime.training_case import HELDOUT, LENGTH, layout_of, metrics, plan_of, prepared, start, train

TIMING = ("seconds", "tokens_per_s", "mfu", "resumed_from", "spend")


def without_timing(values: dict[str, Any]) -> dict[str, Any]:
    """What must be equal in two runs of one plan."""
    return {name: value for name, value in values.items() if name not in TIMING}


def test_the_run_does_what_was_planned(tmp_path: Path) -> None:
    """Steps, tokens and draws per source are the plan's; the loss falls; each step is logged once, held-out ones too."""
    plan = plan_of(24)
    values = train(plan, tmp_path)
    assert (values["status"], values["steps"], values["tokens"]) == ("finished", 24, plan.budget.tokens)
    assert values["samples_per_source"] == {"code": 144, "prose": 48}
    assert values["tokens_per_source"] == {"code": 144 * LENGTH, "prose": 48 * LENGTH}
    assert values["loss"] < values["initial_loss"] - 0.5
    assert 0 < values["mfu"] < 1
    lines = metrics(plan, tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 25))
    assert (lines[0]["loss"], lines[-1]["loss"]) == (values["initial_loss"], values["loss"])
    evaluated = [line["step"] for line in lines if {"heldout/code/loss", "heldout/prose/loss"} <= set(line)]
    assert evaluated == [6, 12, 18, 24]
    kept = sorted(path.name for path in layout_of(plan, tmp_path).checkpoints.iterdir())
    assert kept == ["ba00000020", "ba00000024"]
    assert values["checkpoint"] == "checkpoints/ba00000024"


def test_a_finished_training_is_read_from_its_checkpoint(tmp_path: Path) -> None:
    """A run that was killed after its last save, before its result was written, gives the same result without a step."""
    plan = plan_of(4)
    first = train(plan, tmp_path)
    again = train(plan, tmp_path)
    assert without_timing(again) == without_timing(first)
    assert again["resumed_from"] == 4


def wait_for_step(plan: RunPlan, folder: Path, process: subprocess.Popen[str], step: int) -> None:
    """Until metrics.jsonl has a step's line; fails if the process ends before."""
    path = layout_of(plan, folder).metrics
    for _ in range(20_000):
        if path.exists() and path.read_bytes().count(b"\n") >= step:
            return
        if process.poll() is not None:
            pytest.fail(f"the training ended too early: {process.communicate()}")
        time.sleep(0.005)
    pytest.fail("the training did not come to the step")


def test_kill_9_changes_nothing_of_the_result(tmp_path: Path) -> None:
    """Killed in the middle and started again: losses, draws and weights are those of the undisturbed run, bit for bit."""
    plan = plan_of(160, checkpoints={"interval_steps": 7})
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    process = start(plan, killed)
    wait_for_step(plan, killed, process, 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    expected, values = train(plan, straight), train(plan, killed)
    assert 0 < values["resumed_from"] < 160
    assert without_timing(values) == without_timing(expected)
    assert [line["loss"] for line in metrics(plan, killed)] == [line["loss"] for line in metrics(plan, straight)]
    left, right = (load_trained(plan, layout_of(plan, folder)).state_dict() for folder in (straight, killed))
    assert all(torch.equal(left[name], right[name]) for name in left)


def children(pid: int) -> list[int]:
    """Processes started by a process (Linux)."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def test_sigterm_saves_and_ends_cleanly(tmp_path: Path) -> None:
    """A preempted process with loader workers ends by itself with exit code 0, and says where it stopped."""
    plan = plan_of(
        2000, execution={"workers": 1}, evaluation={"interval_steps": 2000}, checkpoints={"interval_steps": 500}
    )
    process = start(plan, tmp_path)
    wait_for_step(plan, tmp_path, process, 5)
    # To the whole group, as schedulers do, twice in a row.
    for pid in (process.pid, *children(process.pid), process.pid):
        os.kill(pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    values = json.loads(out.splitlines()[-1])
    assert values["status"] == "interrupted"
    assert 5 <= values["steps"] < 2000
    assert [path.name for path in layout_of(plan, tmp_path).checkpoints.iterdir()] == [f"ba{values['steps']:08d}"]
    assert "Traceback" not in err


def test_two_ranks_go_on_where_one_stopped(tmp_path: Path) -> None:
    """Begun by one process, finished by two under torchrun: same batches and draws, the same losses but for rounding."""
    plan = plan_of(8)
    alone = train(plan, tmp_path / "alone")
    with interrupted_after(3):
        train(plan, tmp_path / "grown")
    process = start(plan, tmp_path / "grown", ranks=2)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    values = json.loads(out.splitlines()[-1])
    assert (values["status"], values["resumed_from"], values["world_size"]) == ("finished", 3, 2)
    assert values["samples_per_source"] == alone["samples_per_source"]
    ours, theirs = metrics(plan, tmp_path / "alone"), metrics(plan, tmp_path / "grown")
    assert [line["loss"] for line in theirs] == pytest.approx([line["loss"] for line in ours], rel=1e-5)
    # 7 held-out samples don't divide by 2: the one that pads must not count.
    assert HELDOUT % 2 == 1
    for name in ("heldout/code/loss", "heldout/prose/loss"):
        assert theirs[-1][name] == pytest.approx(ours[-1][name], rel=1e-5)


def test_dropout_is_the_same_after_a_resume(tmp_path: Path) -> None:
    """Composer leaves the random state alone on resume within an epoch; here dropout goes on where it was."""
    model = {"family": "gpt2", "dropout": 0.2, "num_parameters": 27_040}
    plan = plan_of(6, model=model)
    other = plan.model_copy(update={"name": "other"})
    expected = train(plan, tmp_path)
    with interrupted_after(3):
        train(other, tmp_path)
    assert train(other, tmp_path)["loss"] == expected["loss"]


@pytest.mark.parametrize("kind", ["decoupled_adamw", "decoupled_lionw", "sgd"])
def test_every_optimizer_resumes_exactly(tmp_path: Path, kind: str) -> None:
    """Momenta, rates and counts of each optimizer are in the checkpoint; small microbatches and z-loss go along."""
    optimizer = {"kind": kind, "lr": 0.003, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 1e-4}
    plan = plan_of(
        6, training={"optimizer": optimizer, "microbatch": 3}, objective={"kind": "causal_lm", "z_loss": 1e-3}
    )
    other = plan.model_copy(update={"name": "other"})
    expected = train(plan, tmp_path)
    with interrupted_after(3):
        train(other, tmp_path)
    assert without_timing(train(other, tmp_path)) == without_timing(expected)
    line = metrics(plan, tmp_path)[-1]
    assert line["loss/total"] > line["loss"]


def test_accumulated_microbatches_give_the_gradient_of_the_batch(tmp_path: Path) -> None:
    """Batches of 8 cut into 3 + 3 + 2 and recomputed activations train like whole ones, but for rounding."""
    whole = train(plan_of(6), tmp_path)
    pieces = plan_of(6, name="pieces", training={"microbatch": 3})
    parallelism = {"activation_checkpointing": True}
    assert train(pieces, tmp_path)["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert train(plan_of(6, name="recomputed", parallelism=parallelism), tmp_path)["loss"] == pytest.approx(
        whole["loss"], rel=1e-6
    )


def test_a_line_cut_by_a_kill_and_later_steps_are_not_kept(tmp_path: Path) -> None:
    """On resume metrics.jsonl goes on from the checkpoint's step; steps never repeat, and half lines vanish."""
    plan = plan_of(6)
    with interrupted_after(4):
        train(plan, tmp_path)
    path = layout_of(plan, tmp_path).metrics
    with path.open("a") as file:
        file.write('{"step": 5, "loss": 1.0}\n{"step": 6, "lo')
    train(plan, tmp_path)
    assert Counter(line["step"] for line in metrics(plan, tmp_path)) == Counter(range(1, 7))
    assert metrics(plan, tmp_path)[4]["loss"] != 1.0


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    """Diverged training ends at once with the step, and keeps the checkpoints from before."""
    optimizer = {"kind": "sgd", "lr": 1e30, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.0}
    plan = plan_of(6, training={"optimizer": optimizer}, checkpoints={"interval_steps": 1})
    with pytest.raises(RunFailed, match="the loss is nan at step") as caught:
        train(plan, tmp_path)
    assert caught.value.code == "RC606"
    assert list(layout_of(plan, tmp_path).checkpoints.iterdir())


def test_a_damaged_shard_is_found_before_training(tmp_path: Path) -> None:
    """A flipped byte in prepared data is named with its file when the run begins."""
    plan = plan_of(4)
    results = prepared(layout_of(plan, tmp_path).cache)
    shard = next((results["prepare-code"].folder / "train").glob("shard.*"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match=r"shard\.00000\.mds") as caught:
        train(plan, tmp_path)
    assert caught.value.code == "RC408"
    assert not layout_of(plan, tmp_path).metrics.exists()


def test_what_this_machine_cannot_do_is_refused(tmp_path: Path) -> None:
    """bf16 without a GPU says so before anything is trained."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(RunFailed, match="computes in bf16, and torch sees no GPU") as caught:
        train(plan_of(4, precision={"compute": "bf16"}), tmp_path)
    assert caught.value.code == "RC503"


def test_a_batch_that_ranks_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 samples over 3 processes: the error names a number that works."""
    from runtime.feed import per_device_batch

    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(RunFailed, match="8 samples can't be shared evenly by 3") as caught:
        per_device_batch(plan_of())
    assert caught.value.code == "RC205"
    assert "start 2 processes" in caught.value.remedy


def test_trackers_write_into_the_runs_folder(tmp_path: Path) -> None:
    """TensorBoard and MLflow get the metrics of the run, in files beside it."""
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    plan = plan_of(3, logging={"tensorboard": {}, "mlflow": {"experiment": "tiny"}})
    train(plan, tmp_path)
    run = layout_of(plan, tmp_path).run
    assert list((run / "tensorboard").rglob("events.out.tfevents*"))
    assert (run / "mlflow.db").stat().st_size > 0


def test_mfu_counts_what_techniques_add_and_save() -> None:
    """As the plan's estimate does: of adapters 2 of 6 N are saved, a teacher's forward pass is added."""
    plan = plan_of(2)
    progress = Progress(step=2, tokens=100, trained_tokens=100, seconds=1.0, initial_loss=1.0, loss=1.0, samples={})
    whole = flops_per_token(plan.model, plan.data.sequence_length)
    saved = TechniqueCost(
        kind="lora", train_flops=-0.25 * whole * plan.budget.tokens, once_flops=0, memory_bytes=0, hours=0, usd=0
    )
    taught = saved.model_copy(update={"kind": "distillation", "train_flops": 1e30})  # counted by what was really taught
    dense, adapted, learnt = (
        result(plan.model_copy(update={"techniques": costs}), progress, "finished", None, 1, said)["mfu"]
        for costs, said in (((), 0.0), ((saved,), 0.0), ((taught,), 0.5 * whole))
    )
    assert adapted == pytest.approx(0.75 * dense)
    assert learnt == pytest.approx(1.5 * dense)
