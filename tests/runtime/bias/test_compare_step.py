"""The step `compare` of a language model, on real checkpoints and held-out text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.bias.classes import frequency_buckets
from runtime.bias.language import heldout_batches, likeliest, token_counts
from runtime.bias.metrics import cev, changes, sde
from runtime.bias.rates import confusion, rates
from runtime.errors import DataError, RunFailed
from runtime.models.planned import build_untrained, load_trained
from runtime.preflight import preflight
from runtime.steps import compare
from runtime.steps.base import Context, Inputs
from schemas.plan import Step
from tests.runtime.bias.test_comparison import bias_of
from tests.runtime.finished import finished_run

STEP = Step(id="compare", kind="compare", inputs=(), source=None, devices=1, seconds=1.0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, Inputs]:
    """A finished training that is compared with a folder of its untrained weights."""
    folder = tmp_path_factory.mktemp("run")
    bias = bias_of(
        against="folder", run=None, fingerprint=None, folder="made/reference", classes="token_frequency", buckets=4
    )
    context, inputs = finished_run(folder, evaluation={"holdout": 0.2, "bias": bias.model_dump()})
    model: Any = build_untrained(context.plan)
    with torch.no_grad():  # more certain of some tokens, so that every class is chosen now and then
        model.get_input_embeddings().weight.mul_(3.0)
    model.save_pretrained(folder / "made" / "reference")
    return context, inputs


def _changed(context: Context, **changes: Any) -> Context:
    """The same run with another comparison; the checkpoint goes by the plan's own identity, which stays."""
    bias = context.plan.evaluation.bias
    assert bias is not None
    evaluation = context.plan.evaluation.model_copy(update={"bias": bias.model_copy(update=changes)})
    return Context(context.plan.model_copy(update={"evaluation": evaluation}), context.layout)


def test_the_metrics_are_those_of_the_models_own_predictions(run: tuple[Context, Inputs]) -> None:
    """Confusions, metrics and changed samples, worked out once more by hand from both models' logits."""
    context, inputs = run
    values = compare.run(STEP, context, inputs, context.layout.run)
    prepared = {name: inputs[f"prepare-{name}"] for name in ("one", "two")}
    cache = context.layout.cache
    counts = sum(token_counts(context.plan, prepared, cache).values())
    classes = frequency_buckets(counts, 4)
    rows = np.concatenate([batch for result in prepared.values() for batch in heldout_batches(result, 3, cache)])
    reference: Any = build_untrained(context.plan)
    with torch.no_grad():
        reference.get_input_embeddings().weight.mul_(3.0)
    matrices, said = [], []
    for model in (reference, load_trained(context.plan, context.layout)):
        with torch.no_grad():
            tokens = model(input_ids=torch.from_numpy(rows)).logits[:, :-1].argmax(-1).numpy()
        said.append(classes.of_token[tokens].ravel())
        matrices.append(confusion(classes.of_token[rows[:, 1:]], said[-1], 4))
    found = changes(rates(matrices[0]), rates(matrices[1]))
    assert values["confusion"] == {"reference": matrices[0].tolist(), "model": matrices[1].tolist()}
    assert values["cev"] == pytest.approx(cev(found), nan_ok=False)
    assert values["sde"] == pytest.approx(sde(found))
    assert values["pie"] == int((said[0] != said[1]).sum()) > 0
    assert values["samples"] == rows[:, 1:].size
    assert values["judged"] == "trained"
    first = int(np.flatnonzero(said[0] != said[1])[0])
    assert values["pie_samples"][0] == f"one: sample {first // 63}, token {first % 63 + 1}"
    assert (context.layout.run / "bias.svg").is_file() == (found.counted.any())
    assert values == compare.run(STEP, context, inputs, context.layout.run)


def test_a_model_beside_itself_has_no_bias(run: tuple[Context, Inputs], tmp_path: Path) -> None:
    """Golden G1.3 on real weights: exactly 0 in all three."""
    context, inputs = run
    trained: Any = load_trained(context.plan, context.layout)
    trained.save_pretrained(tmp_path / "same")
    values = compare.run(STEP, _changed(context, folder=str(tmp_path / "same")), inputs, context.layout.run)
    assert (values["cev"], values["sde"], values["pie"]) == (0.0, 0.0, 0)
    assert values["accuracy"]["reference"] == values["accuracy"]["model"]


def test_sources_are_classes_too(run: tuple[Context, Inputs]) -> None:
    """`classes: sources` parts the vocabulary by where a token is at home."""
    context, inputs = run
    values = compare.run(STEP, _changed(context, classes="sources"), inputs, context.layout.run)
    assert [one["name"] for one in values["classes"]] == ["one", "two"]
    assert sum(one["samples"] for one in values["classes"]) == values["samples"]


def test_identity_follows_the_reference_and_not_the_limits(run: tuple[Context, Inputs]) -> None:
    """A raised limit judges the same measurement; other reference files are another one."""
    context, inputs = run
    before = compare.identity(STEP, context, inputs)
    assert compare.identity(STEP, _changed(context, max_cev=0.5, max_sde=0.1), inputs) == before
    assert compare.identity(STEP, _changed(context, buckets=7), inputs) != before
    weights = context.layout.roots[0] / "made" / "reference" / "generation_config.json"
    kept = weights.read_bytes()
    weights.write_bytes(kept + b" ")
    try:
        assert compare.identity(STEP, context, inputs) != before
    finally:
        weights.write_bytes(kept)


def test_a_reference_that_is_not_there(run: tuple[Context, Inputs]) -> None:
    """A missing folder is told as such; a run that was never trained too."""
    context, inputs = run
    with pytest.raises(DataError, match="there is no reference `made/nothing`") as caught:
        compare.run(STEP, _changed(context, folder="made/nothing"), inputs, context.layout.run)
    assert caught.value.code == "RC401"
    missing = _changed(context, folder="made/nothing")
    with pytest.raises(DataError, match="there is no reference"):  # before the first step, not after the training
        preflight([(missing.plan, missing.layout, None)])
    with pytest.raises(RunFailed, match="names a run `base`"):
        compare.identity(STEP, _changed(context, against="run", run="base"), inputs)


def test_nothing_held_out_is_nothing_to_compare(run: tuple[Context, Inputs]) -> None:
    """RC610, with what to change."""
    context, inputs = run
    without = {}
    for name, result in inputs.items():
        values = dict(result.values)
        if "heldout" in values:
            values["heldout"] = {**values["heldout"], "samples": 0}
        without[name] = type(result)(result.step, result.key, result.folder, values)
    with pytest.raises(RunFailed, match="no held-out sample") as caught:
        compare.run(STEP, context, without, context.layout.run)
    assert caught.value.code == "RC610"


def test_likeliest_tokens_do_not_follow_the_batch_size(run: tuple[Context, Inputs]) -> None:
    """Each position's next token and the model's choice, whatever the batches; rows beyond the vocabulary are never chosen."""
    context, inputs = run
    model, result, cache = load_trained(context.plan, context.layout), inputs["prepare-one"], context.layout.cache
    one = likeliest(model, heldout_batches(result, 1, cache), CPU, 512)
    all_at_once = likeliest(model, heldout_batches(result, 100, cache), CPU, 512)
    assert np.array_equal(one[0], all_at_once[0])
    assert np.array_equal(one[1], all_at_once[1])
    few = likeliest(model, heldout_batches(result, 4, cache), CPU, 5)
    assert few[1].max() < 5
    empty = likeliest(model, [], CPU, 5)
    assert empty[0].size == empty[1].size == 0


def test_counted_tokens_are_scaled_to_what_is_drawn(run: tuple[Context, Inputs]) -> None:
    """Counts of a source sum to the tokens that the plan draws of it."""
    context, inputs = run
    counts = token_counts(context.plan, {"one": inputs["prepare-one"]}, context.layout.cache)
    drawn = sum(phase.sources["one"].tokens for phase in context.plan.data.phases)
    assert counts["one"].sum() == pytest.approx(drawn)
    assert counts["one"].shape == (512,)
