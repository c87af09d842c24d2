"""Held-out loss and continued texts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from runtime.data.shards import SampleWriter
from runtime.errors import DataError
from runtime.measures import language as evaluation
from runtime.measures.heldout import read_samples
from runtime.models.planned import build_untrained, load_trained
from runtime.steps import evaluate
from runtime.steps.base import Context, Inputs
from runtime.tokenizer import load
from tests.runtime.finished import finished_run

EVALUATION = {"prompts": ["the river", "x = 1"], "max_new_tokens": 8, "holdout": 0.2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, Inputs]:
    """A finished training."""
    return finished_run(tmp_path_factory.mktemp("run"), evaluation=EVALUATION)


def _write(folder: Path, rows: npt.NDArray[np.int64]) -> dict[str, object]:
    with SampleWriter(folder / "heldout", dtype="uint16", sequence_length=rows.shape[1]) as writer:
        for row in rows:
            writer.write(row.astype(np.uint16))
    return {"remote": None, "local": "heldout", "first_sample": 0, "samples": len(rows)}


def test_both_models_are_measured_on_each_source(run: tuple[Context, Inputs]) -> None:
    """The values are the losses of the very models: untrained as built from the seed, trained as saved."""
    context, inputs = run
    step = next(step for step in context.plan.steps if step.kind == "evaluate")
    values = evaluate.run(step, context, inputs, context.layout.run)
    assert sorted(values["sources"]) == ["one", "two"]
    models = {"untrained": build_untrained(context.plan), "trained": load_trained(context.plan, context.layout)}
    for name, source in values["sources"].items():
        result = inputs[f"prepare-{name}"]
        rows = np.stack(list(read_samples(result.values["heldout"], result.folder, "tokens", context.layout.cache)))
        assert source["tokens"] == rows.size
        for which, model in models.items():
            with torch.no_grad():
                ids = torch.from_numpy(rows)
                expected = float(model(input_ids=ids, labels=ids).loss)
            assert source[which]["loss"] == pytest.approx(expected, abs=1e-5)
            assert source[which]["perplexity"] == pytest.approx(math.exp(expected), rel=1e-5)
        assert source["trained"]["loss"] != source["untrained"]["loss"]
    assert values == evaluate.run(step, context, inputs, context.layout.run)
    assert [sample["prompt"] for sample in values["samples"]] == ["the river", "x = 1"]


def test_the_loss_of_an_indifferent_model_is_known(run: tuple[Context, Inputs]) -> None:
    """A model with zero weights gives every token 1/vocabulary: ln 512 nats, whatever the batches."""
    context, _ = run
    model = build_untrained(context.plan)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    rows = np.random.default_rng(0).integers(0, 300, (7, 64))
    for size in (1, 3, 7):
        batches = [rows[i : i + size] for i in range(0, 7, size)]
        assert evaluation.nats_per_token(model, batches) == pytest.approx(math.log(512), abs=1e-6)


def test_bits_per_byte() -> None:
    """ln 2 nats per token at 2 tokens per byte are 2 bits per byte; perplexity is the exponential of the loss."""
    measured = evaluation.losses(math.log(2), 1000, 500)
    assert measured["bits_per_byte"] == pytest.approx(2.0)
    assert measured["perplexity"] == pytest.approx(2.0)
    assert math.isfinite(evaluation.losses(1e6, 10, 10)["perplexity"])


def test_texts_are_the_same_each_time(run: tuple[Context, Inputs]) -> None:
    """The plan's seed decides the sample; no padding row of the embedding is drawn; the caller's random state stays."""
    context, inputs = run
    tokenizer = load(inputs["tokenizer"].folder)
    model: Any = load_trained(context.plan, context.layout)
    state = torch.random.get_rng_state()
    first = evaluation.continue_prompt(model, tokenizer, "the river", context.plan)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(99)
    assert evaluation.continue_prompt(model, tokenizer, "the river", context.plan) == first
    with torch.no_grad():
        model.get_input_embeddings().weight[300:] = 10 * model.get_input_embeddings().weight[:212]
    assert evaluation.continue_prompt(model, tokenizer, "the river", context.plan)


def test_a_long_prompt_is_cut_to_the_models_positions(run: tuple[Context, Inputs]) -> None:
    """A prompt longer than the model's 64 positions is continued from its end."""
    context, inputs = run
    tokenizer = load(inputs["tokenizer"].folder)
    model = load_trained(context.plan, context.layout)
    assert isinstance(evaluation.continue_prompt(model, tokenizer, "the river " * 200, context.plan), str)


def test_a_range_of_samples_is_read_across_shards(tmp_path: Path) -> None:
    """Held-out samples of ready-made shards begin anywhere: exactly first_sample .. + samples are read, in order."""
    from streaming import MDSWriter

    rows = np.arange(40 * 8).reshape(40, 8)
    with MDSWriter(
        columns={"ids": "ndarray:uint16:8"}, out=str(tmp_path / "mds"), size_limit=150, hashes=["sha1"]
    ) as writer:
        for row in rows:
            writer.write({"ids": row.astype(np.uint16)})
    assert len(list((tmp_path / "mds").glob("*.mds"))) > 4
    share = {"remote": str(tmp_path / "mds"), "local": None, "first_sample": 13, "samples": 20}
    found = np.stack(list(read_samples(share, tmp_path, "ids", tmp_path / "cache")))
    assert (found == rows[13:33]).all()


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    """A shard that is gone or cut short is RC408, not a traceback."""
    share = _write(tmp_path, np.zeros((4, 16), dtype=np.int64))
    shard = next((tmp_path / "heldout").glob("*.mds"))
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(DataError) as caught:
        list(read_samples(share, tmp_path, "tokens", tmp_path / "cache"))
    assert caught.value.code == "RC408"
    shard.unlink()
    with pytest.raises(DataError, match="heldout"):
        list(read_samples(share, tmp_path, "tokens", tmp_path / "cache"))


def test_a_source_without_held_out_samples_is_left_out(run: tuple[Context, Inputs]) -> None:
    """`holdout: 0` measures nothing and still continues the prompts."""
    context, inputs = run
    empty = {"remote": None, "local": None, "first_sample": 0, "samples": 0, "tokens": 0, "bytes": 0}
    changed = {
        name: result.__class__(result.step, result.key, result.folder, {**result.values, "heldout": empty})
        for name, result in inputs.items()
    }
    step = next(step for step in context.plan.steps if step.kind == "evaluate")
    values = evaluate.run(step, context, changed, context.layout.run)
    assert values["sources"] == {}
    assert len(values["samples"]) == 2
