"""Classifiers on real trainers: digits are learnt, resumption is exact, averages take running statistics, the export loads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.measures.classification import confusion, measure, predictions
from runtime.models.classifier import build_resnet
from runtime.models.planned import flops_per_token, load_trained
from runtime.steps import evaluate, export
from runtime.steps.base import Context, Inputs, Result
from schemas.plan import RunPlan
from tests.runtime.images.case import layout_of, metrics, plan_of, prepared, resnet, train
from tests.runtime.interruption import interrupted_after

WHOLE = {"start_token": 0, "end_token": 6 * 32}
EMA = [{"kind": "ema", "window": WHOLE, "smoothing": 0.5, "update_interval_steps": 1}]
TIMING = ("seconds", "tokens_per_s", "mfu", "resumed_from", "spend")

CASES: dict[str, dict[str, Any]] = {
    "batch norm": {},
    "group norm": {"model": resnet(norm="group")},
    "label smoothing": {"objective": {"label_smoothing": 0.1}},
    "micro-batches": {"training": {"microbatch": 8}},
    "workers": {"execution": {"workers": 2}},
    "average": {"algorithms": EMA},
    "clipping": {
        "algorithms": [{"kind": "gradient_clipping", "window": WHOLE, "clipping": "norm", "threshold": 0.1}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the digits are prepared once, and every run has its folder."""
    return tmp_path_factory.mktemp("digits")


@pytest.mark.parametrize("case", CASES)
def test_three_steps_resumed_for_three_more_are_six_straight(folder: Path, case: str) -> None:
    """Losses, accuracies and final weights with their running means and variances are equal to the last bit."""
    plan = plan_of(name=case.replace(" ", "-"), **CASES[case])
    other = plan.model_copy(update={"name": f"{plan.name}-other"})
    straight = train(plan, folder)
    with interrupted_after(3):
        assert train(other, folder)["status"] == "interrupted"
    resumed = train(other, folder)
    assert resumed["resumed_from"] == 3
    assert {k: v for k, v in resumed.items() if k not in TIMING} == {
        k: v for k, v in straight.items() if k not in TIMING
    }
    assert _untimed(metrics(other, folder)) == _untimed(metrics(plan, folder))
    left, right = (load_trained(p, layout_of(p, folder)).state_dict() for p in (plan, other))
    assert left.keys() == build_resnet(plan).state_dict().keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def _untimed(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in TIMING} for line in lines]


def test_knobs_change_the_run(folder: Path) -> None:
    """Each case but the loader's processes gives another loss or other weights; those give the very same."""
    plans = {case: plan_of(name=f"{case.replace(' ', '-')}-again", **changes) for case, changes in CASES.items()}
    losses = {case: train(plan, folder)["loss"] for case, plan in plans.items()}
    assert losses["workers"] == losses["batch norm"] == losses["average"]
    assert len({losses[case] for case in CASES if case not in ("workers", "average")}) == 5
    weights = {
        case: load_trained(plan, layout_of(plan, folder)).state_dict()
        for case, plan in plans.items()
        if case in ("batch norm", "average")
    }
    for name in ("conv1.weight", "bn1.running_mean", "layer3.0.bn2.running_var"):
        assert not torch.equal(weights["average"][name], weights["batch norm"][name])


def test_books_count_images(folder: Path) -> None:
    """An image is one token: tokens, draws and epochs of the result are numbers of images."""
    plan = plan_of(name="books")
    found = train(plan, folder)
    assert found["tokens"] == found["trained_tokens"] == 192
    assert found["samples_per_source"] == found["tokens_per_source"] == {"digits": 192}
    last = metrics(plan, folder)[-1]
    assert {"heldout/digits/loss", "heldout/digits/accuracy"} <= last.keys()
    assert flops_per_token(plan.model, 1) == 6 * plan.resnet.macs


def test_two_ranks_train_on_the_same_images(folder: Path) -> None:
    """With group norm, which looks at one image alone, two ranks of half a batch follow one rank of the whole."""
    plan = plan_of(name="ranks", model=resnet(norm="group"), training={"microbatch": 16})
    alone = train(plan, folder)
    both = plan.model_copy(update={"name": "ranks-both"})
    (folder / "plan.json").write_text(both.model_dump_json(by_alias=True))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [sys.executable, *torchrun, "-m", "tests.runtime.images.case", str(folder), str(folder / "plan.json")]
    inherited = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "NODE_RANK")}
    found = subprocess.run(
        command, cwd=Path(__file__).parents[2], env={**inherited, "OMP_NUM_THREADS": "1"}, check=True, timeout=240,
        capture_output=True, text=True,
    )  # fmt: skip
    together = json.loads(found.stdout.splitlines()[-1])
    assert together["world_size"] == 2
    assert together["samples_per_source"] == alone["samples_per_source"]
    lines, ours = metrics(both, folder), metrics(plan, folder)
    for name in ("loss", "heldout/digits/loss", "heldout/digits/accuracy"):
        assert lines[-1][name] == pytest.approx(ours[-1][name], rel=1e-3)


@pytest.fixture(scope="module")
def finished(folder: Path) -> tuple[Context, Inputs]:
    """A classifier that has learnt the digits, with the results of its steps so far."""
    plan = plan_of(
        90, model=resnet(width=8), batch=64, name="learnt", evaluation={"interval_steps": 90},
        training={"microbatch": 64, "optimizer": {"kind": "adamw", "lr": 0.01, "betas": [0.9, 0.95], "eps": 1e-8,
                                                  "weight_decay": 0.05}},
    )  # fmt: skip
    values = train(plan, folder)
    inputs = {**prepared(plan, folder), "train": Result("train", "t" * 64, layout_of(plan, folder).run, values)}
    return Context(plan, layout_of(plan, folder)), inputs


def test_digits_are_learnt(finished: tuple[Context, Inputs]) -> None:
    """Held-out accuracy from chance to above 90 % in 90 steps; the table of classes adds up to it."""
    context, inputs = finished
    found = _evaluated(context, inputs)["sources"]["digits"]
    assert found["untrained"]["accuracy"] < 0.3
    assert found["trained"]["accuracy"] > 0.9
    assert found["trained"]["loss"] < found["untrained"]["loss"]
    assert found["classes"] == [str(digit) for digit in range(10)]
    table = np.array(found["confusion"])
    assert table.sum() == found["tokens"] == inputs["prepare-digits"].values["heldout"]["samples"]
    assert table.sum(axis=1).tolist() == inputs["prepare-digits"].values["heldout"]["per_class"]
    assert np.trace(table) / table.sum() == pytest.approx(found["trained"]["accuracy"])
    last = metrics(context.plan, context.layout.runs.parent)[-1]
    assert last["heldout/digits/loss"] == pytest.approx(found["trained"]["loss"], rel=1e-5)
    assert last["heldout/digits/accuracy"] == pytest.approx(found["trained"]["accuracy"], rel=1e-5)


def _evaluated(context: Context, inputs: Inputs) -> dict[str, Any]:
    return evaluate.run(_step(context.plan, "evaluate"), context, inputs, context.layout.run)


def _step(plan: RunPlan, kind: str) -> Any:
    return next(step for step in plan.steps if step.kind == kind)


def test_predictions_are_the_same_for_any_batch(finished: tuple[Context, Inputs]) -> None:
    """True classes in a fixed order, and predictions that no micro-batch changes; what a comparison of models rests on."""
    context, inputs = finished
    found = {"digits": inputs["prepare-digits"]}
    model, cpu = load_trained(context.plan, context.layout), torch.device("cpu")
    truth, predicted = predictions(model, context.plan, found, cpu, context.layout.cache)
    smaller = context.plan.model_copy(update={"training": context.plan.training.model_copy(update={"microbatch": 7})})
    again = predictions(model, smaller, found, cpu, context.layout.cache)
    assert np.array_equal(truth, again[0])
    assert np.array_equal(predicted, again[1])
    one = measure(model, context.plan, inputs["prepare-digits"], cpu, context.layout.cache)
    assert np.array_equal(one.truth, truth)
    assert one.accuracy == np.mean(truth == predicted)
    assert not model.training


def test_table_of_classes_by_hand() -> None:
    """Rows are true classes, columns predicted ones."""
    assert confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3) == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_the_export_loads_with_torchvision_alone(finished: tuple[Context, Inputs], tmp_path: Path) -> None:
    """The card's own lines, run by a Python that has none of this project on its path, give our logits."""
    context, inputs = finished
    export.run(_step(context.plan, "export"), context, inputs, context.layout.run)
    card = (context.layout.export / "README.md").read_text()
    assert "image-classification" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    asked = "\npixels = torch.arange(128).reshape(2, 1, 8, 8)\ntorch.save(predict(pixels).detach(), {!r})\n"
    (tmp_path / "use.py").write_text(code[1] + asked.format(str(tmp_path / "logits.pt")))
    subprocess.run([sys.executable, "-P", tmp_path / "use.py"], cwd=context.layout.export, check=True, timeout=120)
    pixels = torch.arange(128).reshape(2, 1, 8, 8)
    model = load_trained(context.plan, context.layout).eval()
    ours = model((pixels.float() / 255 - 0.5) / 0.5)
    assert torch.allclose(torch.load(tmp_path / "logits.pt", weights_only=True), ours, atol=1e-6)


@pytest.mark.parametrize("depth", [18, 50, 20])
def test_the_cards_lines_build_every_shape(depth: Any, tmp_path: Path) -> None:
    """Standard shapes are torchvision's constructor, others are put together from its parts; group norm too."""
    from safetensors.torch import save_file

    from runtime.reporting import classifier_card

    norm, stem = ("group", "small") if depth == 20 else ("batch", "imagenet")
    width, channels = (8, 1) if depth == 20 else (64, 3)
    model = resnet(depth, norm=norm, stem=stem, width=width, channels=channels, image_size=32)
    plan = plan_of(model=model)
    save_file(build_resnet(plan).state_dict(), tmp_path / "model.safetensors")
    text = classifier_card.use(plan, ())
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    (tmp_path / "use.py").write_text(
        code[1] + f"\nassert predict(torch.zeros(1, {channels}, 32, 32)).shape == (1, 10)\n"
    )
    subprocess.run([sys.executable, "-P", "use.py"], cwd=tmp_path, check=True, timeout=120)
