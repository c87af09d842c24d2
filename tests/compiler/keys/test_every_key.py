"""No dead knobs: for every key of the recipe, a change of it changes the plan, and the fingerprint iff it has meaning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from schemas.curriculum import Curriculum
from schemas.recipe import Recipe
from tests.compiler.keys import budget, data, model, outputs, techniques, training
from tests.compiler.keys.base import BASE
from tests.compiler.keys.data import DIFFICULTY
from tests.recipes import plan_text

SECTIONS = (model, data, budget, training, techniques, outputs)
CHANGES = {key: change for section in SECTIONS for key, change in section.CHANGES.items()}
BEFORE = {key: before for section in SECTIONS for key, before in section.BEFORE.items()}
ON_TOP = ("budget.objective", "budget.constraints.")
"""Changes that are made to what they are compared with, not to BASE."""

# One word is the only choice today; a change is refused, which tests/errors/ shows.
SINGLE = {
    "data.curriculum[].kind",
    "compression[].kind",
    "distillation.kind",
    "training.adapter.kind",
    "averaging.kind",
    "launch.kind",
}
# Where and how it runs, and what it costs: in the plan, outside of the fingerprint.
PLACE = ("logging.", "launch.", "checkpoints.interval", "checkpoints.keep")
MONEY = {
    "budget.inference.tokens",
    "budget.inference.requests",
    "budget.inference.input_tokens",
    "budget.inference.output_tokens",
    "budget.inference.gpu",
    "budget.inference.precision",
    "budget.inference.price",
    "budget.inference.mfu_prefill",
    "budget.inference.mfu_decode",
    *(
        f"budget.scaling_law.{key}"
        for key in ("name", "e", "a", "b", "alpha", "beta", "fit", "max_tokens_per_parameter")
    ),
    "budget.max_cost",
    "budget.max_hours",
    "budget.max_gpus",
    "evaluation.bias.max_cev",
    "evaluation.bias.max_sde",
    "hardware.gpu.memory",
    "hardware.gpu.bandwidth",
    "hardware.gpu.peak.bf16",
    "hardware.gpu.peak.fp8",
    "hardware.gpu.link",
    "hardware.gpu.tdp",
    "hardware.price",
    "hardware.mfu",
    "hardware.calibration",
    "hardware.network",
    "hardware.mtbf",
    "hardware.pue",
    "hardware.grid",
}
"""What only predicts, prices or limits, as long as it leaves model, steps and layout of BASE as they are."""


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{info.alias or name}"
        inner = _models(info.annotation)
        if path == "data.sources" or not inner or not inner[0].model_fields:
            yield path
        else:
            for one in dict.fromkeys(inner):
                yield from _keys(one, f"{path}[]." if "tuple" in str(info.annotation) else f"{path}.")


def test_every_key_of_the_language_is_listed() -> None:
    """A new key needs a row in one section's module, and in no other."""
    assert set(_keys(Recipe)) - SINGLE == set(CHANGES)
    assert len(CHANGES) == sum(len(section.CHANGES) for section in SECTIONS)
    assert set(BEFORE) <= set(CHANGES)


@pytest.mark.parametrize("key", CHANGES)
def test_changing_a_key_changes_the_plan(key: str, tmp_path: Path) -> None:
    """The change reaches the plan, in more than provenance; only place and money leave the fingerprint alone."""
    without = BEFORE.get(key, ())
    start = without if key.startswith(ON_TOP) else ()
    before, after = plan_text(BASE, tmp_path, *without), plan_text(BASE, tmp_path, *start, *CHANGES[key])
    meaning = {"provenance", "fingerprint", "resume_key"}

    assert before.model_dump(exclude=meaning) != after.model_dump(exclude=meaning)
    expect_same = key.startswith(PLACE) or key in MONEY
    assert (before.fingerprint == after.fingerprint) == expect_same


@pytest.mark.parametrize("key", ["duration", "start_length", "step_size", "truncate"])
def test_the_length_of_sequences_warms_up_beside_an_order_of_difficulty(key: str, tmp_path: Path) -> None:
    """In a list of both, each key changes the same algorithm as alone."""
    said = {"duration": "0.5dur", "start_length": "32", "step_size": "16", "truncate": "false"}[key]
    alone, both = (
        plan_text(BASE, tmp_path, f"data.curriculum={form % f'{{kind: sequence_length_warmup, {key}: {said}}}'}")
        for form in ("%s", "[{by: length}, %s]")
    )
    assert alone.algorithms == both.algorithms != plan_text(BASE, tmp_path).algorithms
    assert not alone.data.curricula
    assert set(both.data.curricula) == {"code", "prose"}


def test_a_curriculum_of_difficulty_has_no_other_keys() -> None:
    """What its rows are."""
    assert set(DIFFICULTY) == set(Curriculum.model_fields) - {"kind"}


@pytest.mark.parametrize("key", DIFFICULTY)
def test_a_source_has_every_key_of_a_curriculum(key: str, tmp_path: Path) -> None:
    """A source's own curriculum changes its plan alone."""
    before, after = (
        plan_text(BASE, tmp_path, f"data.sources.code.curriculum={said}").data.curricula for said in DIFFICULTY[key]
    )
    assert before.keys() == after.keys() == {"code"}
    assert before["code"] != after["code"]
    assert after["code"].scope == "source"
