"""One mistake, one finding: what only follows from a value that is wrong itself is not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.pipeline import compile_recipe
from schemas.diagnostics import Diagnostic, Severity

TEXT = """\
name: echoes
model:
  hidden_size: 48
  num_layers: 2
  num_heads: 4
tokenizer: {vocab_size: 512}
data:
  sequence_length: 64
  sources: {prose: {builtin: cpython-docs}}
budget: {tokens: 64k tok}
training: {batch: 1024 tok}
sequence:
  - name: teacher
  - name: other
    model:
      num_layers: 2
  - name: student
    model: {start: {run: other}}
    distillation: {teacher: {run: teacher}}
    compression:
      - kind: pruning
        exclude: ["model.layers.0.*"]
      - kind: quantization
        mode: qat
        weights: int4
        granularity: group
        group_size: 16
        start: 0.5dur
    evaluation:
      bias: {against: start, zero_rate: epsilon, epsilon: 1e-9}
  - name: thin
    model: {start: {run: teacher}}
    compression: [{kind: low_rank, parameters: 0.5}]
"""
IMAGES = """\
name: echoes
objective: {kind: classification, label_smoothing: 0.1}
model: {family: resnet, depth: 8}
data:
  image: {size: 8, channels: 1}
  sources: {digits: {builtin: digits}}
training: {duration: 1ep, batch: 64}
"""


def _errors(folder: Path, text: str) -> list[Diagnostic]:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return [finding for finding in compile_recipe(path).findings if finding.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("text", "said", "instead", "code"),
    [
        (TEXT, "hidden_size: 48", "hidden_size: banana", "RC103"),
        (TEXT, "  hidden_size: 48\n  num_layers: 2\n  num_heads: 4", "  hiden_size: 48", "RC101"),
        (TEXT, "      num_layers: 2", "      num_layers: -1", "RC104"),
        (TEXT, "name: teacher", "name: 7", "RC107"),
        (TEXT, "name: other", "name: previous", "RC107"),
        (TEXT, "mode: qat", "mode: banana", "RC105"),
        (TEXT, "granularity: group", "granularity: [group]", "RC103"),
        (TEXT, "zero_rate: epsilon", "zero_rate: banana", "RC105"),
        (IMAGES, "depth: 8", "depth: 9", "RC105"),
        (TEXT, "model: {start: {run: other}}", "model: {start: {run: [other]}}", "RC103"),
        (TEXT, "parameters: 0.5", "parameters: 7", "RC104"),
        (IMAGES, "depth: 8", "depth: [8]", "RC103"),
        (IMAGES, "kind: classification", "kind: banana", "RC105"),
    ],
)
def test_one_mistake_is_one_error(tmp_path: Path, text: str, said: str, instead: str, code: str) -> None:
    """At its own line, with a line to write; not what stand-ins for it would bring along."""
    assert not _errors(tmp_path, text)
    assert text.count(said) == 1
    (found,) = _errors(tmp_path, text.replace(said, instead))
    assert found.code == code
    assert found.span is not None
    assert found.span.line == 1 + text[: text.index(said)].count("\n")
    assert found.help


def test_two_mistakes_are_two_errors(tmp_path: Path) -> None:
    """A wrong value hides only what is judged by it: the conflict of two techniques' keys elsewhere is heard."""
    text = TEXT.replace("hidden_size: 48", "hidden_size: banana").replace("zero_rate: epsilon", "zero_rate: skip")
    assert [found.code for found in _errors(tmp_path, text)] == ["RC103", "RC203"]


def test_a_quantity_of_a_wrong_start_is_no_echo_for_runs_without_it(tmp_path: Path) -> None:
    """Only a run that starts from an earlier one has its dimensions: another one's own mistakes are told."""
    text = TEXT.replace("      num_layers: 2", "      num_layers: -1").replace("    model: {start: {run: other}}\n", "")
    text = text.replace("against: start", "against: teacher")
    text = text.replace("group_size: 16", "group_size: 10")
    assert [found.code for found in _errors(tmp_path, text)] == ["RC104", "RC203"]


@pytest.mark.parametrize(("said", "line"), [("7", 'name: "7"'), ("true", 'name: "true"'), ("a b", "name: a-b")])
def test_the_name_to_write_is_a_text(tmp_path: Path, said: str, line: str) -> None:
    """YAML would read `name: 7` as a number again."""
    (found,) = _errors(tmp_path, TEXT.replace("name: teacher", f"name: {said}"))
    assert found.help == line


def test_a_list_of_techniques_shows_one(tmp_path: Path) -> None:
    """`compression: banana` is told with a line to write."""
    start = TEXT.index("    compression:")
    text = TEXT[:start] + "    compression: banana\n" + TEXT[TEXT.index("    evaluation:") :]
    (found,) = _errors(tmp_path, text)
    assert (found.code, found.help) == ("RC103", "compression: [{kind: quantization, weights: int8}]")
