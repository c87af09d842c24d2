"""The exported folder: what anyone can load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from runtime.models.planned import load_trained
from runtime.record import Record, write_record
from runtime.reporting.model_card import model_card
from runtime.steps import export
from runtime.steps.base import Context, Inputs
from tests.runtime.finished import finished_run
from tests.runtime.plans import sealed_plan

LOSSES = {"loss": 5.0, "perplexity": 148.41, "bits_per_byte": 3.2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, Inputs]:
    """A finished training, exported in shards of at most 60 kB."""
    changes = {"checkpoints": {"max_shard_bytes": 60_000}}
    return finished_run(tmp_path_factory.mktemp("run"), **changes)


def _export(context: Context, inputs: Inputs) -> dict[str, object]:
    step = next(step for step in context.plan.steps if step.kind == "export")
    return export.run(step, context, inputs, context.layout.run)


def test_the_folder_loads_and_computes_the_same(run: tuple[Context, Inputs]) -> None:
    """AutoModelForCausalLM and AutoTokenizer load it; in fp32 its logits are the trained model's to the last bit."""
    context, inputs = run
    values = _export(context, inputs)
    model = AutoModelForCausalLM.from_pretrained(context.layout.export, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(context.layout.export, local_files_only=True)
    ids = torch.tensor([tokenizer.encode("the river walks under the moon")])
    expected = load_trained(context.plan, context.layout)(input_ids=ids).logits
    assert torch.equal(model(input_ids=ids).logits, expected)
    assert model.config.eos_token_id == tokenizer.eos_token_id == 0
    assert model.config.use_cache
    files = values["files"]
    assert isinstance(files, dict)
    assert sorted(files) == sorted(path.name for path in context.layout.export.iterdir())
    assert len([name for name in files if name.endswith(".safetensors")]) > 1
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl")) or name == "result.json"]
    assert len({path.stat().st_mode for path in context.layout.export.iterdir()}) == 1


def test_a_lower_precision_is_written_as_such(tmp_path: Path) -> None:
    """`export_dtype: bf16` halves the weights, and the folder says bf16; an older export gives way to it."""
    context, inputs = finished_run(tmp_path, checkpoints={"export_dtype": "bf16"})
    context.layout.export.mkdir()
    (context.layout.export / "old.safetensors").write_text("old")
    _export(context, inputs)
    model = AutoModelForCausalLM.from_pretrained(context.layout.export, local_files_only=True, dtype="auto")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not (context.layout.export / "old.safetensors").exists()
    assert not list(context.layout.run.glob(".tmp-*"))


def test_the_card_shows_this_trainings_evaluation_only(run: tuple[Context, Inputs]) -> None:
    """An evaluation of the same training is shown and is part of the key; one of another training is not."""
    context, inputs = run
    step = next(step for step in context.plan.steps if step.kind == "export")
    source = {"untrained": LOSSES, "trained": {**LOSSES, "perplexity": 33.25}, "tokens": 640, "bytes": 2000}
    values = {"sources": {"one": source}, "samples": []}
    cards, keys = [], []
    for train_key in ("3" * 64, inputs["train"].key):
        record = Record(
            kind="evaluate", key="4" * 64, inputs={"train": train_key}, seconds=1.0, reused=False, values=values
        )
        write_record(context.layout.step_result("evaluate"), record)
        _export(context, inputs)
        cards.append((context.layout.export / "README.md").read_text())
        keys.append(export.identity(step, context, inputs))
    assert "## Evaluation" not in cards[0]
    assert "| one | 640 | 148.4 | 33.25 | 5.0000 | 3.2000 |" in cards[1]
    assert keys[0] != keys[1]


def test_the_card_says_data_and_training() -> None:
    """Front matter for the hub, each source with its tokens and share, the fingerprint; no cell breaks the table."""
    hostile = {"files": "a|b\\n/*.txt"}
    plan = sealed_plan(data={"sources": {"code": hostile, "prose": {"builtin": "cpython-docs"}}})
    trained = {
        "steps": 12,
        "loss": 5.25,
        "seconds": 90.0,
        "world_size": 2,
        "tokens_per_source": {"code": 4608, "prose": 1536},
    }
    card = model_card(plan, trained=trained, evaluation=None)
    front = card.split("---")[1]
    assert "library_name: transformers" in front
    assert json.loads(front.split("tags: ")[1]) == ["recipec", "causal-lm", "llama"]
    assert plan.fingerprint in card
    assert "| prose | builtin: cpython-docs | 1,536 | 25.0% |" in card
    row = next(line for line in card.splitlines() if line.startswith("| code"))
    assert row.replace("\\|", "").count("|") == 5
    assert "5.2500 nats per token" in card
    assert "2 x cpu" in card


def test_the_card_shows_the_mix_over_time(run: tuple[Context, Inputs]) -> None:
    """Where the run's records say what was drawn, the folder has the picture and the card shows it."""
    context, inputs = run
    _export(context, inputs)
    assert "mixture.svg" not in (context.layout.export / "README.md").read_text()
    record = {"step": 12, "tokens": 6144, "tokens/one": 3072, "tokens/two": 3072}
    context.layout.metrics.write_text(json.dumps(record) + "\n")
    values = _export(context, inputs)
    context.layout.metrics.unlink()
    assert "](mixture.svg)" in (context.layout.export / "README.md").read_text()
    assert (context.layout.export / "mixture.svg").read_bytes().startswith(b"<?xml")
    assert "mixture.svg" in values["files"]  # type: ignore[operator]  # a mapping
    assert len({path.stat().st_mode for path in context.layout.export.iterdir()}) == 1


def test_the_card_counts_phases_not_pieces() -> None:
    """A transition of many pieces is one gradual phase; a mix that never changes is not spoken of."""
    tokens, phases = 6144, []
    for i, transition in enumerate(("step", "linear", "linear", "linear")):
        span = {"start_token": i * tokens // 4, "end_token": (i + 1) * tokens // 4}
        sources = {"code": {"samples": 24, "tokens": 24 * 64}}
        name = f"phase{i}" if transition == "step" else f"phase1.{i:02d}"
        phases.append({"id": name, **span, "transition": transition, "sources": sources})
    card = model_card(sealed_plan(data={"phases": phases}), trained={}, evaluation=None)
    assert "The mix changed over 2 phases, 1 of them gradual. " in card
    assert "The mix changed" not in model_card(sealed_plan(), trained={}, evaluation=None)


def test_the_card_says_what_was_read_by_difficulty_and_what_was_cut_off() -> None:
    """A line each curriculum with its sources; tokens that the model never saw are not passed off as trained on."""
    said = {
        "metric": "flesch_reading_ease", "model": None, "order": "easy_to_hard", "pacing": "sqrt", "start": 0.01,
        "end_token": 4096, "power": 2.0, "growth": 1.0, "stages": 1, "buckets": 10, "scope": "mix",
    }  # fmt: skip
    plan = sealed_plan(data={"curricula": {"code": said, "prose": said}})
    trained = {"truncated_tokens_per_source": {"code": 1200, "prose": 34}}
    card = model_card(plan, trained=trained, evaluation=None)
    pace = "0.01 of it at first, sqrt pacing, all of it from 4,096 tokens on."
    assert f"code, prose: read easy to hard by flesch_reading_ease, ranked together: {pace}" in card
    assert "1,234 of the training tokens were cut off" in card
    assert "cut off" not in model_card(plan, trained={}, evaluation=None)
