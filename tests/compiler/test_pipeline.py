"""From recipe to plan: deterministic, ordered, complete in its findings."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.pipeline import PASSES, compile_recipe
from compiler.provenance import leaves, lookup
from schemas.diagnostics import Severity
from schemas.fingerprint import fingerprint, resume_key
from schemas.plan import RunPlan
from tests.recipes import GALLERY, MINIMAL, ROOT, compile_text, plan_text

TECHNIQUES = """\
averaging: {half_life: 10ba}
compression: [{kind: pruning}]
distillation: {teacher: big}
training: {batch: 8192 tok, gradient_clipping: {}}
"""


@pytest.mark.parametrize("recipe", GALLERY, ids=lambda path: path.stem)
def test_gallery_compiles(recipe: Path) -> None:
    """Every recipe of the gallery has a plan that holds together, and no error."""
    result = compile_recipe(recipe)

    assert [f for f in result.findings if f.severity is Severity.ERROR] == []
    plan = result.expect()
    assert RunPlan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan
    assert plan.fingerprint == fingerprint(plan)
    assert plan.resume_key == resume_key(plan)


@pytest.mark.parametrize("recipe", GALLERY, ids=lambda path: path.stem)
def test_every_value_knows_who_set_it(recipe: Path) -> None:
    """Promise 3: a recipe line, a default, or a pass with its reason, for each leaf of the plan."""
    plan = compile_recipe(recipe).expect()
    sealed = {"provenance", "fingerprint", "resume_key", "format_version"}

    for path, _ in leaves(plan):
        if path[0] not in sealed:
            origin = lookup(plan.provenance, path)
            assert origin is not None, path
            assert origin.origin == "recipe" or origin.reason, path


def test_each_section_is_written_by_one_pass(tmp_path: Path) -> None:
    """Replaying the passes, each adds its own section and touches no other."""
    from compiler.draft import Draft
    from compiler.frontend.resolve import resolve
    from compiler.frontend.validate import validate

    (tmp_path / "r.yaml").write_text(MINIMAL, encoding="utf-8")
    checked = validate(resolve(tmp_path / "r.yaml"))
    assert checked.recipe is not None
    draft = Draft(checked.recipe, checked.resolved.spans)
    for step in PASSES:
        after = step(draft)
        assert len(after.sections) > len(draft.sections), step.__name__
        assert all(after.sections[name] is value for name, value in draft.sections.items()), step.__name__
        draft = after


def test_comments_and_key_order_change_no_identity(tmp_path: Path) -> None:
    """Blocks of the recipe in any order, with comments: one fingerprint."""
    blocks = MINIMAL.replace("  sources:\n    code", "  sources: \n    code").split("\n")
    top: list[str] = []
    for line in blocks:
        if line and not line.startswith(" "):
            top.append(line)
        elif line:
            top[-1] += "\n" + line
    expected = plan_text(MINIMAL, tmp_path).fingerprint

    for order in itertools.islice(itertools.permutations(top), 24):
        assert plan_text("# why\n" + "  # because\n".join(order) + "\n", tmp_path).fingerprint == expected


def test_order_of_sources_and_weights_changes_no_identity(tmp_path: Path) -> None:
    """Sources are named, not numbered."""
    one = MINIMAL + "training: {batch: 8192 tok}\n"
    swapped = one.replace(
        "    code: {builtin: cpython-library}\n    prose: {builtin: cpython-docs}\n",
        "    prose: {builtin: cpython-docs}\n    code: {builtin: cpython-library}\n",
    )

    assert plan_text(one, tmp_path).fingerprint == plan_text(swapped, tmp_path).fingerprint


def test_place_of_execution_changes_no_identity(tmp_path: Path) -> None:
    """Workers, caches, Slurm and loggers say where, not what."""
    there = "launch: {workers: 4, cache: /scratch, threads: 2, slurm: {partition: big}}\nlogging: {tensorboard: {}}\n"

    assert plan_text(MINIMAL, tmp_path).fingerprint == plan_text(MINIMAL + there, tmp_path).fingerprint


def test_hash_seed_and_folder_change_nothing(tmp_path: Path) -> None:
    """Two processes with other hash seeds in other folders print the same plan, byte for byte."""
    outputs = set()
    for seed in ("0", "1"):
        folder = tmp_path / seed
        folder.mkdir()
        shutil.copy(ROOT / "recipes" / "techniques-cpu.yaml", folder / "r.yaml")
        command = [sys.executable, "-m", "compiler", "plan", "r.yaml", "--format", "json"]
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PATH": ""}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
        outputs.add(done.stdout)

    assert len(outputs) == 1


def test_order_of_techniques_changes_nothing(tmp_path: Path) -> None:
    """Fragments merge in the language's order, not in the recipe's."""
    lines = TECHNIQUES.splitlines(keepends=True)
    plans = {plan_text(MINIMAL + "".join(order), tmp_path).fingerprint for order in itertools.permutations(lines)}

    assert len(plans) == 1


def test_two_techniques_of_one_slot_conflict(tmp_path: Path) -> None:
    """Both lines are shown, and the conflict is found before anything runs."""
    text = MINIMAL + "compression:\n  - {kind: pruning}\n  - {kind: pruning, sparsity: 0.9}\n"
    found = [f for f in compile_text(text, tmp_path).findings if f.code == "RC202"]

    assert [(f.span.line, f.related[0].span.line) for f in found if f.span] == [(12, 11)]


def test_a_teacher_and_an_average_cost_memory_and_time(tmp_path: Path) -> None:
    """What a technique adds is in the estimate."""
    plain = plan_text(MINIMAL, tmp_path).estimate
    taught = plan_text(MINIMAL + "distillation: {teacher: big}\n", tmp_path).estimate

    assert taught.peak_memory_bytes > plain.peak_memory_bytes
    assert taught.hours > plain.hours


def test_errors_of_all_kinds_come_at_once(tmp_path: Path) -> None:
    """A typo, a wrong unit, a wrong sum and an unknown source: one round, sorted by line."""
    text = """\
name: many
modle: {size: 1B}
model: {size: 1M}
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128 bytes
  sources: {code: {builtin: cpython-library}}
  mixture: [{from: 0dur, weights: {code: 0.4, cod: 0.5}}]
budget: {tokens: 3h}
training: {microbatch: 0}
"""
    found = compile_text(text, tmp_path).findings
    lines = [f.span.line for f in found if f.span]

    assert {f.code for f in found} >= {"RC101", "RC104", "RC106", "RC402", "RC403"}
    assert lines == sorted(lines)
    assert len(set(lines)) >= 5


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("budget={}", "RC304"),
        ("budget={target_loss: 1.0}", "RC301"),
        ("budget={match_chinchilla: 70B}", "RC301"),
        ("budget={tokens: 1M, max_hours: 1s}", "RC302"),
        ("budget={tokens: 5B tok}", "RC303"),
        ("training.duration=10ba", "RC201"),
        ("training.batch=5 tok", "RC205"),
        ("training={batch: 1024 tok, microbatch: 3}", "RC205"),
        ("model={hidden_size: 100, num_layers: 2, num_heads: 3}", "RC204"),
        ("model={}", None),
        ("budget={tokens_per_parameter: 20}", None),
        ("model={size: auto}", "RC303"),
        ("model={size: 1M, vocab_size: 100}", "RC406"),
        ("model={size: 70B}", "RC502"),
        ("hardware={gpu: tpu-v5}", "RC501"),
        ("hardware={gpu: a100-sxm-80gb, count: 9}", "RC205"),
        ("precision=bf16", "RC503"),
        ("data.mixture=[{from: 0.1dur, weights: {code: 0.5, prose: 0.5}}]", "RC404"),
        ("data.mixture=[{weights: {code: 1}}]", "RC402"),
        ("data.sources.code.tokens=1000", "RC405"),
        ("data.curriculum={kind: sequence_length_warmup, start_length: 4096}", "RC203"),
        ("tokenizer={kind: pretrained, hub: gpt2}", "RC406"),
        ("training.schedule.warmup=2ep", "RC410"),
        ("training.schedule.warmup=1e9ba", "RC104"),
        ("training.schedule={kind: cosine, cooldown: 1dur}", "RC203"),
        ("model={size: 1M, dropout: 0.1}", "RC203"),
        ("model={family: gpt2, size: 1M, rope_theta: 5e5}", "RC203"),
        ("model={size: 1M, hidden_size: 512}", "RC204"),
        ("budget={flops: 1}", "RC301"),
        ("averaging.half_life=1e29ba", "RC203"),
        ("averaging.update_interval=1e29ba", "RC203"),
        ("averaging.start=1dur", "RC203"),
        ("compression=[{kind: pruning, start: 1dur}]", "RC203"),
    ],
)
def test_findings_of_the_passes(change: str, code: str | None, tmp_path: Path) -> None:
    """Each combination that can't work, or should be thought about, has its code."""
    overrides = [change]
    if change == "training.duration=10ba" or not change.startswith("budget"):
        overrides.insert(0, "seed=1")
    found = {f.code for f in compile_text(MINIMAL, tmp_path, *overrides).findings}

    assert found == ({code} if code else set())


def test_nothing_says_how_large_the_model_is(tmp_path: Path) -> None:
    """Tokens per parameter fit any size, so a size must be said."""
    found = compile_text(MINIMAL, tmp_path, "model={}", "budget={tokens_per_parameter: 20}").findings

    assert {f.code for f in found} == {"RC102"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=2).filter(any),
    st.integers(10_000, 10**13),
    st.sampled_from([16, 100, 128, 2048]),
    st.integers(1, 64),
    st.floats(0.01, 0.99),
)
def test_draws_are_exact_whatever_the_numbers(
    tmp_path_factory: pytest.TempPathFactory, shares: list[int], tokens: int, length: int, devices: int, knot: float
) -> None:
    """Tokens per phase and source sum to the run, which is whole batches (the plan's own validators check it)."""
    a, b = (share / sum(shares) for share in shares)
    result = compile_text(
        MINIMAL,
        tmp_path_factory.mktemp("draws"),
        f"budget.tokens={tokens}",
        f"data.sequence_length={length}",
        f"hardware={{gpu: b200-sxm-180gb, count: {devices}}}",
        f"data.mixture=[{{weights: {{code: {a!r}, prose: {b!r}}}}}, {{from: {knot!r}dur, weights: {{code: 0.5, prose: 0.5}}}}]",
    )
    if result.plan is not None:
        drawn = sum(s.tokens for phase in result.plan.data.phases for s in phase.sources.values())
        assert (
            drawn == result.plan.budget.tokens == result.plan.training.steps * result.plan.training.global_batch_tokens
        )
        assert result.plan.training.global_batch_samples % devices == 0
    else:
        assert result.findings
