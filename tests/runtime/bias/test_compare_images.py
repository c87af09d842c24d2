"""The step `compare` of classifiers: digits, two real trainings, and a third as a replicate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.bias.metrics import cev, changes, exemplars, sde
from runtime.bias.rates import confusion, mean_rates, rates
from runtime.measures.classification import predictions
from runtime.models.planned import load_trained
from runtime.steps import compare
from runtime.steps.base import Context
from schemas.plan import RunPlan, StartPlan, Step
from tests.runtime.bias.test_comparison import bias_of
from tests.runtime.images import case
from tests.runtime.plans import sealed

STEP = Step(id="compare", kind="compare", inputs=(), source=None, devices=1, seconds=1.0)
OPTIMIZER = {"kind": "adamw", "lr": 0.02, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0}


def _run(name: str, steps: int, seed: int, **changes: Any) -> RunPlan:
    changes = {"evaluation": {"holdout": 0.4}, "training": {"optimizer": OPTIMIZER}, **changes}
    return sealed(case.plan_of(steps, name=f"digits-{name}", run=name, seed=seed, **changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPlan, Path]:
    """A reference of 25 steps and two short runs, the last of which is compared, with the other as its replicate."""
    folder = tmp_path_factory.mktemp("digits")
    base, twin = _run("base", 25, 1), _run("twin", 12, 2)
    bias = bias_of(run="base", fingerprint=base.fingerprint, replicates={"twin": twin.fingerprint})
    last = _run("last", 12, 3, evaluation={"holdout": 0.4, "bias": bias.model_dump()})
    last = sealed(last.model_copy(update={"earlier": (base, twin)}))
    for plan in (base, twin, last):
        case.train(plan, folder)
    return last, folder


def test_images_are_compared_by_their_labels(trained: tuple[RunPlan, Path]) -> None:
    """Names are the data's classes; metrics and samples are those of all three models' own predictions."""
    plan, folder = trained
    layout, prepared = case.layout_of(plan, folder), case.prepared(plan, folder)
    values = compare.run(STEP, Context(plan, layout), prepared, layout.run)
    images = {"digits": prepared["prepare-digits"]}
    said = []
    for run in (plan.earlier[0], plan, plan.earlier[1]):
        model = load_trained(run, case.layout_of(run, folder))
        said.append(predictions(model, plan, images, torch.device("cpu"), layout.cache))
    truth = said[0][0]
    matrices = [confusion(truth, found, 10) for _, found in said]
    found = changes(rates(matrices[0]), mean_rates([rates(matrix) for matrix in matrices[1:]]))
    assert found.counted.sum() >= 3
    assert values["cev"] == pytest.approx(cev(found))
    assert values["sde"] == pytest.approx(sde(found))
    changed = exemplars(said[0][1], [one for _, one in said[1:]])
    assert values["pie"] == int(changed.sum()) > 0
    assert values["pie_samples"][0] == f"digits: image {int(np.flatnonzero(changed)[0])}"
    assert values["replicates"] == 2
    assert [one["name"] for one in values["classes"]] == [str(digit) for digit in range(10)]
    assert values["accuracy"]["reference"] == pytest.approx(float(np.mean(truth == said[0][1])))
    assert values["against"] == "base"
    assert (layout.run / "bias.svg").is_file()


def test_the_start_is_a_reference(trained: tuple[RunPlan, Path]) -> None:
    """Compared with the run that its weights came from: the same numbers as by that run's name."""
    plan, folder = trained
    base = plan.earlier[0].fingerprint
    start = StartPlan(kind="run", run="base", fingerprint=base, folder=None, hub=None, revision=None)
    bias = bias_of(against="start", run=None, fingerprint=None)
    evaluation = plan.evaluation.model_copy(update={"bias": bias})
    by_start = plan.model_copy(update={"evaluation": evaluation, "start": start})
    named = plan.evaluation.model_copy(update={"bias": bias_of(run="base", fingerprint=base)})
    by_name = plan.model_copy(update={"evaluation": named})
    layout, prepared = case.layout_of(plan, folder), case.prepared(plan, folder)
    one, two = (compare.run(STEP, Context(p, layout), prepared, layout.run) for p in (by_start, by_name))
    assert one["against"] == "its start"
    assert {**one, "against": "base"} == two
