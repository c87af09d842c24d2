"""The line to write is a promise: written where the finding points, the finding is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.frontend.spans import parse_path
from compiler.pipeline import compile_recipe
from schemas.diagnostics import Diagnostic, Severity
from tests.recipes import MINIMAL

_HALVES = "{weights: {code: 0.5, prose: 0.5}"
# One wrong line of a recipe each; where several overrides stand, the last one is wrong.
WRONG: tuple[tuple[str, ...], ...] = (
    ("name='$0'",),
    ("name='5 %'",),
    ("name=-1",),
    ("name=true",),
    ("seed=-1",),
    ("model=5",),
    ("model=llama",),
    ("hardware={gpu: h100-sxm-80gb, count: 8}", "model.size=300B tok"),
    ("model.hidden_size=wide",),
    ("model.num_heads=0",),
    ("model.vocab_size=-1",),
    ("model.vocab_size=100",),
    ("model={hidden_size: 128, num_layers: 2, num_heads: 3}",),
    ("tokenizer.max_bytes=8h",),
    ("tokenizer={kind: pretrained, path: a, hub: b, vocab_size: 2048}",),
    ("data.sources.code=docs/*.md",),
    ("data.sources.code={file: x}",),
    ("data.sources={}",),
    ("data.curriculum=mtld",),
    ("data.curriculum={by: mtdl}",),
    ("data.curriculum={by: mtld, order: hard}",),
    ("data.curriculum={by: mtld, start: 0}",),
    ("data.curriculum={by: mtld, duration: 9999999ba}",),
    ("data.curriculum=[{by: mtld}, {kind: sequence_length_warmup, start_length: 9999}]",),
    ("data.curriculum=[{by: mtld, pacing: exponential, stages: 3}]",),
    ("data.sources.code={builtin: cpython-library, curriculum: {by: mtld, buckets: 1}}",),
    ("data.mixture={code: 1}",),
    ("data.mixture=[{weights: {}}]",),
    ("data.mixture=[{weights: {code: 0.3, prose: 0.3}}]",),
    ("data.mixture=[{weights: {code: 0.1, prose: 0.7}}]",),
    ("data.mixture=[{weights: {code: 0, prose: 0}}]",),
    ("data.mixture=[{from: 2, weights: {code: 0.5, prose: 0.5}}]",),
    (
        f"data.mixture=[{_HALVES}}}, {{from: 0.9dur, weights: {{code: 1, prose: 0}}}}, {{from: 0.85dur, {_HALVES[1:]}}}]",
    ),
    ("data.selection={min_bytes: 10, max_bytes: 5}",),
    ("hardware={gpu: h100-sxm-80gb, count: 64}", "model={size: auto}", "budget={target_loss: x}"),
    ("budget.inference={requests: 1M, input_tokens: many}",),
    ("budget.max_cost=8h",),
    ("budget={tokens: 1M, max_hours: 1s}",),
    ("hardware={gpu: h100-sxm-80gb, count: 8}", "budget={tokens: 1T, max_cost: $1}"),
    ("hardware={gpu: h100}",),
    ("hardware={gpu: h100-sxm-80gb, count: 12}",),
    ("training.batch=1",),
    ("training.microbatch=3",),
    ("training.sharding={kind: hybrid, degree: 4}",),
    ("training.sharding=full",),
    ("training.optimizer.betas=[]",),
    ("training.optimizer.betas=[0.9, 1]",),
    ("training.optimizer.weight_decay=-1",),
    ("training.schedule.warmup=yes",),
    ("training.schedule.warmup=5dur",),
    ("training.schedule={kind: inverse_sqrt, cooldown: 1dur}",),
    ("training.compile=yes",),
    ("hardware={gpu: h100-sxm-80gb}", "precision=b16"),
    ("precision=bf16",),
    ("compression=pruning",),
    ("compression=[{kind: prune}]",),
    ("compression=[{sparsity: 0.5}]",),
    ("sequence=first",),
    ("sequence=[]",),
    ("sequence=[{name: previous}]",),
    ("sequence=[{name: a}, {name: a}]",),
    ("sequence=[{name: a}, {name: b, model: {start: {run: c}}}]",),
    ("sequence=[{name: a}, {name: b, model: {start: {run: a}, num_layers: 99}}]",),
    ("sequence=[{name: a}, {name: b, training: {optimizer: {lr: -1}}}]",),
    ("sequence=[{name: a}, {name: b, seed: 1}]", "budget={tokens: 1M, max_hours: 1s}"),
    ("compression={kind: pruning}",),
    ("compression=[{kind: pruning, start: 0.9dur}]",),
    ("compression=[{kind: pruning, start: 1dur}]",),
    ("distillation=5",),
    ("distillation={}",),
    ("distillation={teacher: {}}",),
    ("distillation={teacher: {folder: a, revision: b}}",),
    ("distillation={teacher: a, loss: kldiv}",),
    ("distillation={teacher: a, end: 0dur}",),
    ("distillation={teacher: {run: previous}}",),
    ("averaging=ema",),
    ("averaging.half_life=8h",),
    ("averaging.start=1dur",),
    ("evaluation.interval=8h",),
    ("evaluation.prompts=Once upon",),
    ("evaluation.prompts=[1]",),
    ("checkpoints.keep=0",),
    ("logging.wandb.project='a b'",),
    ("logging.mlflow={tracking_uri: 'https://me:secret@example.org/x'}",),
    ("launch.slurm.time=5 tok",),
)


def _errors(folder: Path, overrides: tuple[str, ...]) -> list[Diagnostic]:
    recipe = folder / "recipe.yaml"
    recipe.write_text(MINIMAL, encoding="utf-8")
    return [f for f in compile_recipe(recipe, overrides).findings if f.severity is Severity.ERROR]


def _written(finding: Diagnostic) -> str:
    """The finding's line as an override at its place."""
    line = finding.help.partition("   #")[0]
    path = parse_path(finding.path)
    key, _, value = line.removeprefix("- ").partition(": ")
    if key == path[-1]:
        return f"{finding.path}={value}"
    if line.startswith("- "):
        return f"{finding.path}={line.removeprefix('- ')}"
    if finding.code == "RC101":  # a key to write instead: the old one goes
        return f"{finding.path.rpartition('.')[0]}={{{line}}}"
    if finding.code == "RC201" and not line.startswith(str(path[-1])):  # two lines, one of which goes
        return f"{finding.path}=null"
    parent = finding.path
    while parent and not parent.endswith(key):
        parent = parent.rpartition(".")[0] if not parent.endswith("]") else parent.rpartition("[")[0]
    assert parent, f"{finding.help!r} is no line for {finding.path}"
    return f"{parent}={value}"


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong[-1][:50])
def test_the_line_to_write_works(wrong: tuple[str, ...], tmp_path: Path) -> None:
    """Every error of a wrong line has a remedy that can be pasted, after which nothing is wrong any more."""
    errors = _errors(tmp_path, wrong)
    assert errors
    fixed = (*wrong, *dict.fromkeys(_written(finding) for finding in errors))

    assert [finding.message for finding in _errors(tmp_path, fixed)] == []


def test_what_follows_from_a_wrong_budget_is_not_said_too(tmp_path: Path) -> None:
    """`size: auto` with a target that no model reaches: there is a budget, so it is not asked for one."""
    (error,) = _errors(tmp_path, ("model={size: auto}", "budget={target_loss: 0.1}"))
    assert error.path == "budget.target_loss"
    (error,) = _errors(tmp_path, ("model={size: auto}", "budget={flops: -1}"))
    assert error.path == "budget.flops"


def test_a_value_of_an_alias_is_wrong_where_it_is_used(tmp_path: Path) -> None:
    """The line of the anchor is right; it is shown beside the one that uses it."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(MINIMAL.replace("name: minimal", "name: &n minimal") + "seed: *n\n", encoding="utf-8")
    (error,) = compile_recipe(recipe).findings

    assert error.span is not None
    assert recipe.read_text(encoding="utf-8").splitlines()[error.span.line - 1] == "seed: *n"
    assert [other.span.line for other in error.related] == [1]


@pytest.mark.parametrize(("key", "missing"), [("revision: main", "tokenizer"), ("split: train", "hf")])
def test_a_key_of_another_kind_of_source_is_not_sent_to_a_far_section(key: str, missing: str, tmp_path: Path) -> None:
    """`revision` is a key of `hf` sources and of the tokenizer; under a source, the tokenizer is never meant."""
    (error,) = _errors(tmp_path, (f"data.sources.code={{builtin: cpython-docs, {key}}}",))

    assert error.help.startswith("keys of `data.sources.code`")
    assert missing not in error.help
