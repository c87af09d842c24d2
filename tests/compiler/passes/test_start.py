"""passes/start.py: dimensions, tokenizer and positions follow the weights that a run starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.explain import explain_value
from compiler.frontend.spans import SpanIndex
from schemas.diagnostics import Diagnostic, Severity
from tests.compiler.lineage.test_pretrained import GPT2, SMOLLM2, folder_with
from tests.recipes import compile_text, plan_text

DATA = """\
name: tune
data: {sequence_length: 128, sources: {code: {builtin: cpython-library}}}
budget: {tokens: 64k tok}
training: {batch: 1024 tok}
"""
TWO = DATA + (
    "model: {family: llama, hidden_size: 64, num_layers: 2, num_heads: 4}\n"
    "tokenizer: {vocab_size: 1024}\n"
    "sequence: [{name: one}, {name: two, model: {start: {run: one}}}]\n"
)
SMALL = SMOLLM2 | {"vocab_size": 512}


def base(folder: Path, config: dict[str, Any], tokens: int | None = 512) -> str:
    """A folder with weights' config, and a tokenizer of so many tokens; its line of the recipe."""
    folder_with(folder / "base", config)
    if tokens is not None:
        vocabulary = {f"t{number}": number for number in range(tokens - 1)}
        content = {"model": {"vocab": vocabulary}, "added_tokens": [{"id": tokens - 1}]}
        (folder / "base" / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return DATA + "model: {start: base}\n"


def findings(text: str, folder: Path, *overrides: str) -> list[tuple[str, str]]:
    """Code and place of what is wrong."""
    return [(f.code, f.path) for f in compile_text(text, folder, *overrides).findings]


def test_a_folder_gives_dimensions_and_tokenizer(tmp_path: Path) -> None:
    """Nothing else of the model is said, and each value says why."""
    plan = plan_text(base(tmp_path, SMALL), tmp_path)
    assert plan.start is not None
    assert (plan.start.kind, plan.start.folder, plan.start.fingerprint) == ("folder", "base", None)
    assert (plan.decoder.hidden_size, plan.decoder.num_layers, plan.decoder.rope_theta) == (576, 30, 100_000.0)
    assert (plan.decoder.max_sequence_length, plan.decoder.vocab_size) == (8192, 512)
    assert plan.tokenizer is not None
    assert (plan.tokenizer.kind, plan.tokenizer.path, plan.tokenizer.vocab_size) == ("pretrained", "base", 512)
    assert "whose weights the run starts from" in explain_value(plan, SpanIndex(), "model.num_heads")


def test_what_weights_leave_open_is_the_recipes(tmp_path: Path) -> None:
    """Attention, dropout and compilation change no weight."""
    text = base(tmp_path, GPT2 | {"vocab_size": 512})
    overrides = ("model.attention=eager", "model.dropout=0", "training.compile=true")
    plan = plan_text(text, tmp_path, *overrides)
    assert (plan.decoder.attention, plan.decoder.dropout, plan.decoder.compile) == ("eager", 0.0, True)
    assert plan_text(text, tmp_path).decoder.dropout == 0.1


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("model.family=gpt2", "model.family"),
        ("model.hidden_size=64", "model.hidden_size"),
        ("model.tie_embeddings=false", "model.tie_embeddings"),
        ("model.rope_theta=1e4", "model.rope_theta"),
        ("model.size=1B", "model.size"),
    ],
)
def test_a_dimension_that_differs_is_an_error(tmp_path: Path, said: str, path: str) -> None:
    """It names both sides, and the line to write is accepted."""
    text = base(tmp_path, SMALL)
    (found,) = compile_text(text, tmp_path, said).findings
    assert (found.code, found.path, found.severity) == ("RC207", path, Severity.ERROR)
    assert "`base`" in found.message
    value = found.help.partition(": ")[2].partition(" ")[0]
    assert findings(text, tmp_path, f"{path}={value}") == []


def test_a_run_gives_its_own(tmp_path: Path) -> None:
    """Also dimensions that only that run said; those shared by all are of runs that start from nothing."""
    plan = plan_text(TWO.replace("{name: one}", "{name: one, model: {num_layers: 3}}"), tmp_path)
    assert (plan.decoder.num_layers, plan.decoder) == (3, plan.earlier[0].decoder)


def test_a_run_that_says_otherwise_is_told_where_the_other_side_stands(tmp_path: Path) -> None:
    """File and line of the earlier run's dimension."""
    text = TWO.replace("{start: {run: one}}", "{start: {run: one}, hidden_size: 128}")
    (found,) = compile_text(text, tmp_path).findings
    assert (found.code, found.path) == ("RC207", "sequence[1].model.hidden_size")
    assert "recipe.yaml:5:37" in found.reason


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (TWO.replace("{run: one}", "{run: onee}"), "did you mean `one`?"),
        (TWO.replace("{run: one}", "{run: two}"), ""),
        (TWO.replace("{run: one}", "{run: three}").replace("two,", "two,").replace("}}]", "}}, {name: three}]"), ""),
        (DATA + "model: {start: {run: one}}\n", ""),
        (DATA + "model: {start: {run: previous}}\n", ""),
    ],
)
def test_runs_that_there_are_not(tmp_path: Path, text: str, label: str) -> None:
    """A typo, itself, a later one, or no sequence at all."""
    found = [f for f in compile_text(text, tmp_path).findings if f.code == "RC206"]
    (finding,) = found
    assert finding.path.endswith("model.start.run")
    assert finding.label.startswith(label)
    assert finding.help


def test_the_first_run_has_no_previous_one(tmp_path: Path) -> None:
    """So that `previous` can be said for all of them at the top."""
    text = TWO.replace("num_heads: 4}", "num_heads: 4, start: {run: previous}}").replace(
        "{run: one}", "{run: previous}"
    )
    plan = plan_text(text, tmp_path)
    assert plan.earlier[0].start is None
    assert plan.start is not None
    assert plan.start.run == "one"


@pytest.mark.parametrize(("family", "severity"), [("gpt2", Severity.ERROR), ("llama", Severity.WARNING)])
def test_longer_sequences(tmp_path: Path, family: str, severity: Severity) -> None:
    """Learned positions end; rotary ones go on, into what the weights have not seen."""
    text = TWO.replace("llama", family).replace("{name: two,", "{name: two, data: {sequence_length: 256},")
    result = compile_text(text, tmp_path)
    (found,) = result.findings
    assert (found.code, found.severity, found.path) == ("RC207", severity, "sequence[1].data.sequence_length")
    if result.plan is not None:
        assert result.plan.decoder.max_sequence_length == 256


def test_shorter_sequences_keep_the_table(tmp_path: Path) -> None:
    """A gpt2 keeps all of its positions, or its weights would not fit."""
    text = TWO.replace("llama", "gpt2").replace("{name: two,", "{name: two, data: {sequence_length: 64},")
    plan = plan_text(text, tmp_path)
    assert plan.decoder.max_sequence_length == 128
    assert plan.decoder.num_parameters == plan.earlier[0].decoder.num_parameters


def test_a_run_has_its_starts_tokenizer(tmp_path: Path) -> None:
    """Another vocabulary would give words other ids."""
    text = TWO.replace("{name: two,", "{name: two, tokenizer: {vocab_size: 2048},")
    assert findings(text, tmp_path) == [("RC406", "sequence[1].tokenizer")]


def test_a_trained_tokenizer_does_not_fit_a_folders_weights(tmp_path: Path) -> None:
    """Said, or as the default where no tokenizer lies beside the weights."""
    assert findings(base(tmp_path, SMALL), tmp_path, "tokenizer.vocab_size=512") == [("RC406", "tokenizer")]
    (tmp_path / "base" / "tokenizer.json").unlink()
    (found,) = compile_text(base(tmp_path, SMALL, None), tmp_path).findings
    assert found.help.startswith("tokenizer: {kind: pretrained, path: base")


def test_a_tokenizer_with_more_tokens_than_rows(tmp_path: Path) -> None:
    """The folder of another model, by mistake."""
    text = base(tmp_path, SMALL, 600)
    assert findings(text, tmp_path) == [("RC406", "tokenizer")]


def test_weights_that_can_not_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder must be there; an absolute one and the hub's may be elsewhere, if the recipe says all dimensions."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    known = (
        "model.family=llama", "model.hidden_size=64", "model.num_layers=2", "model.num_heads=4",
        "model.intermediate_size=192", "model.vocab_size=2048",
        "tokenizer={kind: pretrained, hub: org/base, vocab_size: 2048}",
    )  # fmt: skip
    relative, absolute, hub = (DATA + f"model: {{start: {s}}}\n" for s in ("no/base", "/no/base", "{hub: org/base}"))

    def said(text: str, *overrides: str) -> list[tuple[str, Severity]]:
        return [(f.code, f.severity) for f in compile_text(text, tmp_path, *overrides).findings if f.code != "RC102"]

    assert said(relative, *known) == [("RC401", Severity.ERROR)]
    assert said(absolute, *known) == [("RC401", Severity.WARNING)]
    assert said(hub, *known) == []
    assert ("RC207", Severity.ERROR) in said(absolute)
    assert ("RC207", Severity.ERROR) in said(hub)


def test_folders_that_hold_no_start(tmp_path: Path) -> None:
    """Without a config, or with a model of another kind."""
    text = base(tmp_path, {"model_type": "mamba"})
    first: Diagnostic = compile_text(text, tmp_path).findings[0]
    assert (first.code, first.path) == ("RC207", "model.start.folder")
    assert "mamba" in first.reason
    (tmp_path / "base" / "config.json").unlink()
    assert ("RC207", "model.start.folder") in findings(text, tmp_path)


def test_another_start_is_another_run(tmp_path: Path) -> None:
    """Its fingerprint and resume key differ: a checkpoint goes on from the weights that it began with."""
    text = base(tmp_path, SMALL)
    folder_with(tmp_path / "other", SMALL)
    one, other = (
        plan_text(text, tmp_path),
        plan_text(text.replace("start: base", "start: other"), tmp_path, "tokenizer={kind: pretrained, path: base}"),
    )
    assert one.fingerprint != other.fingerprint
    assert one.resume_key != other.resume_key


def test_the_law_says_nothing_of_fine_tuning(tmp_path: Path) -> None:
    """Many tokens per parameter are beyond its data where weights are random; a start's own training isn't counted here."""
    text = TWO.replace("64k tok", "2B tok")
    warned = [(finding.code, finding.path) for finding in compile_text(text, tmp_path).findings]
    assert warned.count(("RC303", "budget")) == 1
    assert explain_value(plan_text(text, tmp_path), SpanIndex(), "budget.loss").startswith("budget.loss = null\n")
