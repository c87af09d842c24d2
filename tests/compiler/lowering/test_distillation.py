"""Distillation in the plan: who teaches, when, what it costs, and what is refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.job.yaml_out import dump
from schemas.techniques.distillation import DistillationAlgorithm
from schemas.units import format_count
from tests.recipes import algorithm_of, compile_text, errors_of, plan_text

SMALL = """\
name: student
model: {hidden_size: 64, num_layers: 2, num_heads: 4}
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources: {code: {builtin: cpython-library, tokens: 4M}, prose: {builtin: cpython-docs, tokens: 1M}}
budget: {tokens: 1M tok}
hardware: {gpu: h100-sxm-80gb, count: 2}
training: {batch: 8192 tok}
"""
SEQUENCE = SMALL + "sequence: [{name: a}, {name: b}, {name: c}]\n"
CONFIG = {
    "model_type": "llama", "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 4, "intermediate_size": 384, "vocab_size": 2048, "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "duty"),
    [
        ("end: 1dur", 1.0),
        ("end: 0.5dur", 0.5),
        ("end: 1dur, every: 4", 31 / 122),
        ("end: 0.2dur", 25 / 122),
        ("end: 1dur, probability: 0.1", 0.1),
        ("end: 0.5dur, every: 5, probability: 0.5", 13 * 0.5 / 122),
        ("", 0.5),
    ],
)
def test_overhead_of_a_teacher_as_large_as_the_student(said: str, duty: float, tmp_path: Path) -> None:
    """2 N_T / 6 N: a third at duty 1, 6.7 % at 0.2, 3.3 % at 0.1 (Liu et al. 2023); the gate opens on exactly ceil(f T) steps."""
    from compiler.draft import Draft
    from compiler.lowering import distillation as lowering

    seen: list[float] = []
    original = lowering.lower

    def watched(technique: Any, draft: Draft, /) -> Any:
        fragment = original(technique, draft)
        seen.append(fragment.flops_per_token / (6 * draft.model.num_parameters))
        return fragment

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lowering, "lower", watched)
        plan = plan_text(SMALL + f"distillation: {{teacher: big, {said}}}\n", tmp_path)
    assert plan.training.steps == 122
    assert seen[-1] == pytest.approx(duty / 3)
    spec = algorithm_of(plan, DistillationAlgorithm)
    assert spec.duty(122, plan.training.global_batch_tokens) == pytest.approx(duty)


def test_the_window_ends_at_the_first_step_that_begins_beyond_it(tmp_path: Path) -> None:
    """f dur of T steps are ceil(f T) steps; whole ones are themselves whatever a double makes of them."""
    for said, steps in (("0.5dur", 61), ("0.25dur", 31), ("0.1dur", 13), ("9ba", 9), ("90k tok", 11), ("640sp", 10)):
        spec = algorithm_of(
            plan_text(SMALL + f"distillation: {{teacher: big, end: {said}}}\n", tmp_path), DistillationAlgorithm
        )
        assert (spec.window.start_token, spec.window.end_token) == (0, steps * 8192), said


def test_an_ensemble_costs_all_of_them_or_the_mean(tmp_path: Path) -> None:
    """Weights of all are held either way; one a step costs the mean of their passes, whatever their number."""
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "config.json").write_text(json.dumps(CONFIG))
    plain = plan_text(SMALL, tmp_path)
    three = "distillation: {teachers: [big, big, away], end: 1dur%s}\n"
    every, one = (plan_text(SMALL + three % more, tmp_path) for more in ("", ", sampling: one"))
    size, big = plain.model.num_parameters, 4 * (4 * 128**2 + 3 * 128 * 384 + 2 * 128) + 2048 * 128 + 128
    extra = [plan.estimate.memory_parts.get("techniques", 0) for plan in (every, one)]
    assert extra[0] == extra[1] == pytest.approx(4 * (2 * big + size), rel=0.01)
    assert plain.estimate.step_parts["matmul"] < one.estimate.step_parts["matmul"] < every.estimate.step_parts["matmul"]
    assert algorithm_of(every, DistillationAlgorithm).sampling == "all"
    (alone,) = compile_text(SMALL + "distillation: {teachers: [big], sampling: one}\n", tmp_path).findings
    assert alone.help == "sampling: all"
    reason = every.provenance["algorithms[0]"].reason
    assert "away not at hand: taken to be as large as the student" in reason


def test_a_teacher_that_can_be_seen_is_compared_before_anything_runs(tmp_path: Path) -> None:
    """Another vocabulary, and too few positions: by config.json, without its weights."""
    for change, message in (
        ({"vocab_size": 4096}, "the teacher `big` has 4,096 tokens, the model 2,048: logits can't be compared"),
        ({"max_position_embeddings": 64}, "the teacher `big` reads 64 tokens at once, and samples have 128"),
    ):
        (tmp_path / "big").mkdir(exist_ok=True)
        (tmp_path / "big" / "config.json").write_text(json.dumps(CONFIG | change))
        (found,) = errors_of(SMALL + "distillation: big\n", tmp_path)
        assert (found.code, found.path, found.message) == ("RC203", "distillation.teacher", message)


def test_each_run_learns_from_the_one_before(tmp_path: Path) -> None:
    """`previous` in the base: the first run has no teacher, each later one the run before it, pinned by its fingerprint."""
    plan = plan_text(SEQUENCE + "distillation: {teacher: {run: previous}}\n", tmp_path)
    first, second = plan.earlier
    assert not first.algorithms
    (teacher,) = algorithm_of(second, DistillationAlgorithm).teachers
    assert (teacher.run, teacher.fingerprint) == ("a", first.fingerprint)
    (teacher,) = algorithm_of(plan, DistillationAlgorithm).teachers
    assert (teacher.run, teacher.fingerprint) == ("b", second.fingerprint)
    plain = plan_text(SEQUENCE, tmp_path)
    assert plain.earlier[0].fingerprint == first.fingerprint
    assert plain.earlier[1].fingerprint != second.fingerprint


def test_a_teacher_of_the_sequence_has_its_own_size(tmp_path: Path) -> None:
    """A larger first run costs what its own parameters cost."""
    text = (
        SMALL
        + "sequence:\n  - {name: big, model: {num_layers: 6}}\n  - {name: small, distillation: {teacher: {run: big}}}\n"
    )
    plan = plan_text(text, tmp_path)
    (big,) = plan.earlier
    assert plan.estimate.memory_parts["techniques"] == pytest.approx(4 * big.model.num_parameters, rel=0.01)
    assert f"({format_count(big.model.num_parameters)} parameters)" in plan.provenance["algorithms[0]"].reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALL + "distillation: {teacher: {run: previous}}\n", "there is no run `previous` to learn from"),
        (SEQUENCE + "distillation: {teacher: {run: x}}\n", "there is no run `x` in `sequence`; earlier ones: none"),
        (
            SMALL + "sequence: [{name: a, distillation: {teacher: {run: b}}}, {name: b}]\n",
            "`b` is a later run, and a run learns from earlier ones",
        ),
        (
            SMALL + "sequence: [{name: a}, {name: b, distillation: {teacher: {run: b}}}]\n",
            "`b` is itself, and a run learns from earlier ones",
        ),
        (
            SMALL + "sequence:\n  - {name: a, tokenizer: {vocab_size: 1024}}\n"
            "  - {name: b, distillation: {teacher: {run: a}}}\n",
            "the teacher `a` has 1,024 tokens, the model 2,048: logits can't be compared",
        ),
        (
            SMALL + "sequence:\n  - {name: a, tokenizer: {vocab_size: 2000}}\n"
            "  - {name: b, distillation: {teacher: {run: a}}}\n",
            "the teacher `a` has another tokenizer: token ids would mean other words",
        ),
        (
            SMALL + "sequence:\n  - {name: a, data: {sources: {prose: null}}}\n"
            "  - {name: b, distillation: {teacher: {run: a}}}\n",
            "the teacher `a` has another tokenizer: token ids would mean other words",
        ),
    ],
)
def test_runs_that_can_not_teach_are_errors_of(text: str, message: str, tmp_path: Path) -> None:
    """Names that lead to no earlier run, and runs whose predictions are of other words."""
    found = errors_of(text, tmp_path)
    assert any(message in one.message for one in found), found


def test_the_run_of_another_recipe_is_read_from_its_folder(tmp_path: Path) -> None:
    """Its plan says size and vocabulary; a folder without one is an error."""
    big = plan_text(SMALL.replace("num_layers: 2", "num_layers: 6"), tmp_path)
    folder = tmp_path / "runs" / f"{big.name}-{big.short_fingerprint}"
    folder.mkdir(parents=True)
    text = SMALL + f"distillation: {{teacher: {{checkpoint: runs/{folder.name}}}}}\n"
    (found,) = errors_of(text, tmp_path)
    assert (found.code, found.path) == ("RC203", "distillation.teacher")
    assert "plan.yaml" in found.message
    (folder / "plan.yaml").write_text(dump(big.model_dump(mode="json", by_alias=True)))
    plan = plan_text(text, tmp_path)
    assert plan.estimate.memory_parts["techniques"] == pytest.approx(4 * big.model.num_parameters, rel=0.01)
    assert algorithm_of(plan, DistillationAlgorithm).teachers[0].checkpoint == f"runs/{folder.name}"


def test_kept_logits_take_no_teacher_into_the_training(tmp_path: Path) -> None:
    """One step a source before it, FLOPs once a token, bytes on disk; no FLOPs and no weights while training."""
    live, kept = (
        plan_text(SMALL + f"distillation: {{teacher: big, end: 1dur{more}}}\n", tmp_path, "budget.tokens=40M tok")
        for more in ("", ", cache: {top_k: 32}")
    )  # fmt: skip
    assert [step.id for step in kept.steps if step.kind == "logits"] == ["logits-code", "logits-prose"]
    assert not any(step.kind == "logits" for step in live.steps)
    steps = {step.id: step for step in kept.steps}
    assert steps["logits-code"].inputs == ("tokenizer", "prepare-code")
    assert {"logits-code", "logits-prose"} <= set(steps["train"].inputs)
    assert steps["logits-code"].seconds > steps["logits-prose"].seconds > 0
    read = sum(step.seconds for step in kept.steps if step.kind == "logits")
    bare = kept.training.steps * sum(kept.estimate.step_parts.values())
    assert kept.estimate.time_parts["training"] == pytest.approx(bare + read)  # so that its dollars count
    assert kept.estimate.memory_parts.get("techniques", 0) == 0 < live.estimate.memory_parts["techniques"]
    assert kept.estimate.step_parts["matmul"] < live.estimate.step_parts["matmul"]
    assert algorithm_of(kept, DistillationAlgorithm).row_bytes(2048) == 32 * 4 + 4
    assert "32 logits of each prediction kept, 132 bytes, 653.4 MB in all" in kept.provenance["algorithms[0]"].reason


def test_a_cache_that_reads_more_than_the_run_is_warned_of(tmp_path: Path) -> None:
    """5M tokens of the sources against 1M of the run; and k is never more than the vocabulary."""
    found = compile_text(SMALL + "distillation: {teacher: big, cache: {top_k: 9999}}\n", tmp_path)
    (warning,) = [one for one in found.findings if one.path == "distillation.cache"]
    assert warning.severity.value == "warning"
    assert "reads all 4.95M tokens of the sources for the cache" in warning.message
    assert algorithm_of(found.expect(), DistillationAlgorithm).top_k == 2048


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{teacher: a, teachers: [b]}", "`teacher` and `teachers` both name whom to learn from"),
        ("{weight: 0.5}", "`distillation` names no teacher"),
        ("{teacher: {folder: a, run: b}}", "a teacher comes from exactly one of"),
        ("{teacher: {folder: a, revision: b}}", "only the hub has revisions"),
        ("{teacher: a, loss: mse, temperature: 2}", "`loss: mse` compares logits, which no temperature softens"),
        ("{teacher: a, loss: mse, cache: {}}", "`loss: mse` compares all logits, and a cache keeps the largest"),
        ("{teachers: [a, b], sampling: one, cache: {}}", "a cache holds the mean of all teachers"),
        ("{teacher: a, start: 0.6dur}", "the teacher ends at step 61, not after its start at step 74"),
    ],
)
def test_keys_that_do_not_go_together(said: str, message: str, tmp_path: Path) -> None:
    """Each is named with what it contradicts."""
    found = errors_of(SMALL + f"distillation: {said}\n", tmp_path)
    assert any(message in one.message for one in found), found


def test_kept_logits_of_samples_that_are_cut_up_are_errors_of(tmp_path: Path) -> None:
    """Cut short is fine; reshaped into more samples is not."""
    text = SMALL + "distillation: {teacher: big, cache: {}}\n"
    warmup = "data.curriculum={kind: sequence_length_warmup, truncate: %s}"
    assert errors_of(text, tmp_path, warmup % "true") == []
    (found,) = errors_of(text, tmp_path, warmup % "false")
    assert "`data.curriculum` reshapes these into shorter ones" in found.message
    assert found.path == "distillation.cache"
