"""The step `compress`: what it writes, counts and times, and what the steps after it make of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM

from runtime.algorithms import facts
from runtime.compression.rounded_layers import plain_model
from runtime.compression.shipping import counts, in_export_dtype, load_shipped, tokens_per_s
from runtime.errors import RunFailed
from runtime.record import Record, is_present
from runtime.steps import compress, evaluate, export
from runtime.steps.base import Context, Inputs, Result
from schemas.plan import Step
from tests.runtime.finished import finished_run

STEP = Step(id="compress", kind="compress", inputs=("tokenizer", "train"), source=None, devices=1, seconds=1.0)
PTQ: dict[str, Any] = {
    "kind": "quantization", "window": {"start_token": 6144, "end_token": 6144}, "mode": "ptq", "weights": "int8",
    "granularity": "channel", "group_size": None, "activations": "none", "exclude": [],
}  # fmt: skip


def compressing(folder: Path, **changes: Any) -> tuple[Context, Inputs]:
    """A finished training whose plan has a step `compress` before `evaluate` and `export`."""
    context, inputs = finished_run(folder, algorithms=[PTQ], **changes)
    steps = list(context.plan.steps)
    at = next(number for number, step in enumerate(steps) if step.kind == "evaluate")
    after = [step.model_copy(update={"inputs": (*step.inputs, "compress")}) for step in steps[at:]]
    plan = context.plan.model_copy(update={"steps": (*steps[:at], STEP, *after)})
    return Context(plan, context.layout), inputs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, Inputs, dict[str, Any]]:
    """Context, inputs with the result of `compress`, and its values."""
    context, inputs = compressing(tmp_path_factory.mktemp("run"), checkpoints={"export_dtype": "bf16"})
    values = compress.run(STEP, context, inputs, context.layout.run)
    made = {**inputs, "compress": Result("compress", "5" * 64, context.layout.run, values)}
    return context, made, values


def _step(context: Context, kind: str) -> Step:
    return next(step for step in context.plan.steps if step.kind == kind)


def test_counts_and_sizes_are_those_of_the_files(run: tuple[Context, Inputs, dict[str, Any]]) -> None:
    """As many parameters as before; bytes are the files'; of the rounded layers about half of bf16 is left."""
    context, _, values = run
    parameters = context.plan.model.num_parameters
    assert values["parameters"] == {"before": parameters, "after": parameters}
    assert values["nonzero"]["before"] == parameters
    assert 0.98 * parameters < values["nonzero"]["after"] < parameters
    weights = list(context.layout.compressed.glob("*.safetensors"))
    assert values["bytes"]["after"] == sum(path.stat().st_size for path in weights)
    assert values["bytes"]["before"] == pytest.approx(2 * parameters, rel=0.1)
    done = values["techniques"]["quantization"]
    assert done["layers"] == 7
    assert done["weights"] == 4 * 32 * 32 + 3 * 32 * 64
    assert done["bits_per_weight"] == pytest.approx(8 + 16 * (5 * 32 + 2 * 64) / done["weights"])
    saved = values["bytes"]["before"] - values["bytes"]["after"]
    assert saved == pytest.approx(done["weights"] * (16 - done["bits_per_weight"]) / 8, abs=3000)  # longer headers
    assert not (context.layout.run / "uncompressed").exists()
    assert values["folder"] == "compressed"
    assert sorted(values["files"]) == sorted(path.name for path in context.layout.compressed.iterdir())


def test_a_missing_or_damaged_file_is_made_anew(run: tuple[Context, Inputs, dict[str, Any]]) -> None:
    """The executor reuses the result only while all of its files are what they were."""
    context, _, values = run
    record = Record(kind="compress", key="5" * 64, inputs={}, seconds=1.0, reused=False, values=values)
    assert is_present(STEP, record, context.layout)
    gone = record.model_copy(update={"values": {**values, "files": [*values["files"], "gone.safetensors"]}})
    assert not is_present(STEP, gone, context.layout)
    weights = context.layout.compressed / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert not is_present(STEP, record, context.layout)
    weights.write_bytes(whole)
    assert is_present(STEP, record, context.layout)


def test_what_is_measured_and_exported_is_what_is_shipped(run: tuple[Context, Inputs, dict[str, Any]]) -> None:
    """Held-out loss of the shipped model stands beside the trained one's; the export's weights are the compressed ones."""
    context, inputs, _ = run
    values = evaluate.run(_step(context, "evaluate"), context, inputs, context.layout.run)
    for source in values["sources"].values():
        assert source["shipped"]["loss"] == pytest.approx(source["trained"]["loss"], abs=0.02)
        assert source["shipped"]["loss"] != source["trained"]["loss"]
    export.run(_step(context, "export"), context, inputs, context.layout.run)
    name = "model.safetensors"
    assert (context.layout.export / name).read_bytes() == (context.layout.compressed / name).read_bytes()
    loaded = AutoModelForCausalLM.from_pretrained(context.layout.export, dtype=torch.bfloat16)
    expected = plain_model(in_export_dtype(load_shipped(context.plan, context.layout), context.plan)).state_dict()
    loaded(input_ids=torch.zeros(1, 1, dtype=torch.int64))  # unpacks its weights in the first pass
    found = loaded.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    modes = {path.stat().st_mode for path in (*context.layout.export.iterdir(), *context.layout.compressed.iterdir())}
    assert len(modes) == 1


def test_the_result_depends_on_what_is_done_and_on_nothing_else(run: tuple[Context, Inputs, dict[str, Any]]) -> None:
    """Another rounding or number format is another result; a longer evaluation is not."""
    context, inputs, _ = run

    def key(**changes: Any) -> Any:
        return compress.identity(STEP, Context(context.plan.model_copy(update=changes), context.layout), inputs)

    spec = context.plan.algorithms[0]
    assert key(algorithms=(spec.model_copy(update={"granularity": "tensor"}),)) != key()
    assert key(checkpoints=context.plan.checkpoints.model_copy(update={"export_dtype": "fp32"})) != key()
    assert key(evaluation=context.plan.evaluation.model_copy(update={"max_new_tokens": 9})) == key()


def test_without_a_technique_the_trained_model_is_what_is_shipped(tmp_path: Path) -> None:
    """Nothing is rounded, counted twice or told."""
    context, _ = finished_run(tmp_path)
    model = load_shipped(context.plan, context.layout)
    assert counts(model) == (context.plan.model.num_parameters, context.plan.model.num_parameters)
    assert facts(context.plan, model) == {}
    context.layout.checkpoints.rename(tmp_path / "moved")
    with pytest.raises(RunFailed, match="no checkpoint"):
        load_shipped(context.plan, context.layout)


def test_models_are_timed_in_turn_over_the_same_batch(tmp_path: Path) -> None:
    """A model that sleeps three times as long is three times as slow; the first pass of each doesn't count."""

    class Slow(torch.nn.Module):
        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.seconds, self.passes = seconds, 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            order.append(self.seconds)
            time.sleep(0.5 if self.passes == 0 else self.seconds)
            self.passes += 1
            return images

    order: list[float] = []
    context, _ = finished_run(tmp_path)
    models = [Slow(0.02), Slow(0.06)]
    fast, slow = tokens_per_s(models, {"pixel_values": torch.zeros(10, 3, 8, 8)}, context.plan)
    assert order == [0.02, 0.06] * (len(order) // 2)
    assert 10 / 0.04 < fast <= 10 / 0.02
    assert 2 < fast / slow < 4
    assert not cast("torch.nn.Module", models[0]).training
