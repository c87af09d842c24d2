"""Mistakes around sequences and techniques: what is said of them, and that the line to write cures them."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.commands.common import compiled
from compiler.frontend.suggest import nearest_number
from compiler.pipeline import Compiled

TEXT = """\
name: x
model: {hidden_size: 64, num_layers: 2, num_heads: 4}
tokenizer: {vocab_size: 1024, max_bytes: 1MB}
data: {sequence_length: 64, sources: {code: {builtin: cpython-library}, prose: {builtin: cpython-docs}}}
budget: {tokens: 1M tok}
"""
IMAGES = """\
name: x
objective: classification
model: {family: resnet, depth: 14}
data: {image: {size: 8, channels: 1}, sources: {digits: {builtin: digits}}}
training: {duration: 10ep, batch: 64}
"""
TWO = TEXT + "sequence:\n  - {name: one}\n  - name: two\n    model: {start: {run: one}}\n    "
TAUGHT = "distillation: {teacher: {run: one}}"


def look(text: str, folder: Path) -> Compiled:
    """The recipe with what is seen of its folders."""
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return compiled(path, ())


# The recipe, what is wrong in it, the code, the line to write, the recipe's part with that line in it.
MISTAKES = [
    (TEXT, "compression: {kind: pruning}", "RC103", "compression: [{kind: pruning}]", ""),
    (TEXT, "compression: prunning", "RC103", "compression: [{kind: pruning}]", ""),
    (TWO, "evaluation: {retention: code}", "RC103", "retention: [code]", "evaluation: {retention: [code]}"),
    (
        TWO,
        "evaluation: {bias: {against: one, classes: token_frequencyy}}",
        "RC105",
        "classes: token_frequency",
        "evaluation: {bias: {against: one, classes: token_frequency}}",
    ),
    (TWO, "evaluation: {bias: onee}", "RC203", "bias: one", "evaluation: {bias: one}"),
    (TWO, "evaluation: {bias: {against: onee}}", "RC203", "against: one", "evaluation: {bias: {against: one}}"),
    (TWO, "distillation: {teacher: {run: onee}}", "RC203", "teacher: {run: one}", TAUGHT),
    (TWO, "distillation: {teacher: {run: two}}", "RC203", "teacher: {run: one}", TAUGHT),
    (TWO, "distillation: {teacher: one}", "RC401", "teacher: {run: one}", TAUGHT),
    (TWO, "distillation: {teacher: {run: one}, sampling: one}", "RC104", "sampling: all", TAUGHT),
    (TWO, "distilation: {teacher: {run: one}}", "RC101", TAUGHT, ""),
    (TWO, "training: {adapter: {r: 8}}", "RC108", "rank: 8", "training: {adapter: {rank: 8}}"),
    (TWO, "training: {lora: {rank: 8}}", "RC108", "adapter: {kind: lora}", "training: {adapter: {kind: lora}}"),
    (TEXT, "quantization: {bits: 8}", "RC108", "compression: [{kind: quantization, weights: int8}]", ""),
    (TEXT, "evaluation.prompts: [hello]", "RC101", "evaluation: {prompts: [hello]}", ""),
    (TEXT, "precision: bf16", "RC503", "precision: fp32", ""),
    (TEXT, "precision: {compute: bf16}", "RC503", "compute: fp32", "precision: {compute: fp32}"),
]


@pytest.mark.parametrize(("base", "wrong", "code", "line", "right"), MISTAKES, ids=[row[1] for row in MISTAKES])
def test_the_line_to_write_cures(tmp_path: Path, base: str, wrong: str, code: str, line: str, right: str) -> None:
    """One finding, at the line; the recipe with the line in the place of the wrong one has a plan."""
    (found,) = look(base + wrong + "\n", tmp_path).findings
    assert (found.code, found.help.partition("   #")[0]) == (code, line)
    assert found.span is not None
    assert found.span.line == (base + wrong).count("\n") + 1
    assert look(base + (right or line) + "\n", tmp_path).plan is not None


def test_a_run_whose_name_has_a_typo(tmp_path: Path) -> None:
    """The key is the finding, not what it leaves out."""
    (found,) = look(TEXT + "sequence: [{nam: one}, {name: two}]\n", tmp_path).findings
    assert (found.code, found.label, found.help) == ("RC101", "did you mean `name`?", "name: one")
    (found,) = look(TEXT + "sequence: [{seed: 3}, {name: two}]\n", tmp_path).findings
    assert (found.code, found.help) == ("RC102", "name: run1")


def test_a_start_that_names_a_run(tmp_path: Path) -> None:
    """A text alone is a folder; one that is a run's name gets the line that says so."""
    (found,) = look(TEXT + "sequence: [{name: one}, {name: two, model: {start: one}}]\n", tmp_path).findings
    assert found.code == "RC401"
    assert found.help.startswith("start: {run: one} ")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("distillation: {teacher: models/big}", 1),
        ("distillation: {teachers: [models/a, {checkpoint: runs/b}]}", 2),
        ("compression: [{kind: quantization}]\nevaluation: {bias: models/base}", 1),
    ],
)
def test_folders_of_models_are_looked_for(tmp_path: Path, said: str, wrong: int) -> None:
    """Missing beside the recipe: an error; an absolute one may be on the machine of the run."""
    result = look(f"{TEXT}{said}\n", tmp_path)
    assert [found.code for found in result.findings] == ["RC401"] * wrong
    assert result.plan is None
    absolute = said.replace("models/", "/nowhere/models/").replace("runs/", "/nowhere/runs/")
    result = look(f"{TEXT}{absolute}\n", tmp_path)
    assert [str(found.severity) for found in result.findings] == ["warning"] * wrong
    assert result.plan is not None
    for folder in ("models/big", "models/a", "models/base"):
        (tmp_path / folder).mkdir(parents=True)
    assert len(look(f"{TEXT}{said}\n", tmp_path).findings) <= wrong - 1 or "runs/b" in said


def test_a_key_of_another_kind_of_item(tmp_path: Path) -> None:
    """Neither far-away sections nor a key that happens to look alike: an item of its own."""
    data = TEXT.replace(
        "{sequence_length", "{curriculum: [{kind: sequence_length_warmup, order: easy_to_hard}], sequence_length"
    )
    (found,) = look(data, tmp_path).findings
    assert (found.label, found.help.partition("   #")[0]) == (
        "`order` is a key of `kind: difficulty`",
        "{kind: difficulty, order: easy_to_hard}",
    )
    (found,) = look(TEXT + "compression: [{kind: pruning, granularity: group}]\n", tmp_path).findings
    assert found.help.startswith("{kind: quantization, granularity: group}")


@pytest.mark.parametrize("form", ["[{}]", "{}"])
def test_a_mistyped_kind_is_one_finding(tmp_path: Path, form: str) -> None:
    """What the other keys of the item mean is then not known, so nothing is said of them."""
    item = form.format("{kind: sequence_length_warmupp, start_length: 8}")
    (found,) = look(
        TEXT.replace("{sequence_length", f"{{curriculum: {item.replace('{{', '{')}, sequence_length"), tmp_path
    ).findings
    assert found.code == "RC105"
    assert found.help == "kind: sequence_length_warmup"


@pytest.mark.parametrize(
    ("objective", "code", "line"),
    [("", "RC203", "objective: classification"), ("objective: clasification\n", "RC105", "objective: classification")],
)
def test_a_resnet_without_its_objective(tmp_path: Path, objective: str, code: str, line: str) -> None:
    """One finding, not one for each key that only images have."""
    result = look(IMAGES.replace("objective: classification\n", objective), tmp_path)
    assert [(found.code, found.help.partition("   #")[0]) for found in result.findings] == [(code, line)]


def test_a_number_that_is_none_of_a_few(tmp_path: Path) -> None:
    """The nearest one is offered."""
    (found,) = look(IMAGES.replace("depth: 14", "depth: 15").replace("size: 8", "size: 32"), tmp_path).findings
    assert found.help == "depth: 14"
    assert nearest_number(True, ["1"]) is None
    assert nearest_number(float("inf"), ["1"]) is None
    assert nearest_number(40, ["32", "44", "x"]) == "44"
    assert nearest_number(3, ["x"]) is None


def test_claims_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    """The second claim is the lower line, whichever technique is planned first."""
    for said in ("training: {adapter: {}}\n    compression: [{kind: low_rank, rank: 8}]",
                 "compression: [{kind: low_rank, rank: 8}]\n    training: {adapter: {}}"):  # fmt: skip
        (found,) = look(TWO + said + "\n", tmp_path).findings
        assert found.span is not None
        assert found.code == "RC202"
        assert found.related[0].span.line < found.span.line


@pytest.mark.parametrize(
    ("said", "unread"),
    [
        ("compression: [{kind: pruning, schedule: oneshot, initial: 0.1, end: 9ba}]", {"initial", "end"}),
        ("evaluation: {bias: {against: one, epsilon: 0.1, classes: sources, buckets: 3}}", {"epsilon", "buckets"}),
    ],
)  # fmt: skip
def test_knobs_that_nothing_reads(tmp_path: Path, said: str, unread: set[str]) -> None:
    """An option that is accepted reaches the run: one that another choice leaves idle is refused, all at once."""
    found = look(TWO + said + "\n", tmp_path).findings
    assert {one.path.rpartition(".")[2] for one in found if "nothing reads" in one.message} == unread
    assert len(found) == len(unread)


@pytest.mark.parametrize("other", ["{kind: pruning, method: structured}", "{kind: low_rank, rank: 8}"])
def test_requirements_between_techniques_name_both_lines(tmp_path: Path, other: str) -> None:
    """As claims do: groups of int4 weights, and the line of what changes the layers' inputs."""
    said = f"compression:\n      - {other}\n      - {{kind: quantization, weights: int4}}\n"
    (found,) = look(TWO + said, tmp_path).findings
    assert found.span is not None
    assert (found.code, found.related[0].span.line) == ("RC203", found.span.line - 1)
