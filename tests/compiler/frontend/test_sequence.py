"""`sequence:` taken apart: what each run's recipe holds, which line each value comes from, and what can't be a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.frontend.resolve import resolve
from compiler.frontend.sequence import Run, runs_of
from schemas.diagnostics import Diagnostic

BASE = """\
name: base
model: {hidden_size: 64, num_layers: 2}
variables: {rate: 0.25}
training:
  batch: 64
  optimizer: {lr: 1e-3}
hardware: {gpu: {name: cpu}}
"""


def split(folder: Path, text: str, *overrides: str) -> tuple[tuple[Run, ...], tuple[Diagnostic, ...]]:
    """The runs of a recipe given as text."""
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return runs_of(resolve(path, overrides))


def test_a_recipe_without_a_sequence_is_one_run(tmp_path: Path) -> None:
    """It has no name, and the recipe is the whole one."""
    (run,), findings = split(tmp_path, BASE)
    assert (run.name, run.item, findings) == (None, None, ())
    assert run.resolved.tree["name"] == "base"


def test_runs_merge_over_the_rest(tmp_path: Path) -> None:
    """Mappings merge deeply, lists and values replace, null takes away; nested `name` keys are no run's name."""
    text = BASE + (
        "sequence:\n"
        "  - name: one\n"
        "  - name: two\n"
        "    training: {optimizer: {lr: 5}, batch: null}\n"
        "    hardware: {gpu: {name: a100}}\n"
        "    new: [1, 2]\n"
    )
    (one, two), findings = split(tmp_path, text)
    assert findings == ()
    assert one.resolved.tree == {
        "name": "base-one",
        "model": {"hidden_size": 64, "num_layers": 2},
        "training": {"batch": 64, "optimizer": {"lr": 1e-3}},
        "hardware": {"gpu": {"name": "cpu"}},
    }
    assert two.resolved.tree["training"] == {"optimizer": {"lr": 5}}
    assert two.resolved.tree["hardware"] == {"gpu": {"name": "a100"}}
    assert (two.resolved.tree["name"], two.resolved.tree["new"]) == ("base", [1, 2])


def test_each_value_keeps_its_line(tmp_path: Path) -> None:
    """What a run says stands in its item, what it shares at the top; paths of the whole recipe say which."""
    text = BASE + "sequence:\n  - {name: one}\n  - {name: two, training: {optimizer: {lr: 5}}}\n"
    (one, two), _ = split(tmp_path, text)
    path = ("training", "optimizer", "lr")
    assert str(one.resolved.spans.value(*path)) == "r.yaml:6:19"
    assert str(two.resolved.spans.value(*path)) == "r.yaml:10:44"
    assert (one.place(path), two.place(path)) == (path, ("sequence", 1, *path))
    assert two.said(two.resolved.spans.value(*path))
    assert not two.said(two.resolved.spans.value("training", "batch"))
    assert two.place(()) == ()


def test_overrides_reach_a_run_by_place_and_by_name(tmp_path: Path) -> None:
    """`[1]`, `.1` and the run's name are one; the top level is shared."""
    text = BASE + "sequence: [{name: one}, {name: two}]\n"
    for path in ("sequence[1]", "sequence.1", "sequence.two"):
        (one, two), _ = split(tmp_path, text, f"{path}.training.batch=9", "model.num_layers=4")
        assert (one.resolved.tree["training"], two.resolved.tree["training"]) == (
            {"batch": 64, "optimizer": {"lr": 1e-3}},
            {"batch": 9, "optimizer": {"lr": 1e-3}},
        )
        assert one.resolved.tree["model"] == two.resolved.tree["model"] == {"hidden_size": 64, "num_layers": 4}
    _, findings = split(tmp_path, text, "sequence.three.seed=1")
    assert findings == ()
    assert [f.code for f in resolve(tmp_path / "r.yaml", ("sequence.three.seed=1",)).diagnostics] == ["RC009", "RC008"]


def test_variables_reach_into_runs(tmp_path: Path) -> None:
    """They are put in before the runs are made."""
    (run,), _ = split(tmp_path, BASE + "sequence: [{name: one, x: '${rate}'}]\n")
    assert run.resolved.tree["x"] == 0.25


def test_a_sequence_is_inherited_and_replaced_like_any_list(tmp_path: Path) -> None:
    """`extends` brings it; a recipe's own list stands for all of it, and null for none."""
    (tmp_path / "base.yaml").write_text(BASE + "sequence: [{name: one}, {name: two}]\n", encoding="utf-8")
    names = [run.name for run in split(tmp_path, "extends: base.yaml\nseed: 3\n")[0]]
    assert names == ["one", "two"]
    assert [run.name for run in split(tmp_path, "extends: base.yaml\nsequence: [{name: x}]\n")[0]] == ["x"]
    assert [run.name for run in split(tmp_path, "extends: base.yaml\nsequence: null\n")[0]] == [None]


def test_one_run_alone_keeps_the_recipes_name(tmp_path: Path) -> None:
    """The last run is the recipe's; there is none before it."""
    (run,), _ = split(tmp_path, BASE + "sequence: [{name: only}]\n")
    assert (run.name, run.resolved.tree["name"]) == ("only", "base")


@pytest.mark.parametrize(
    ("sequence", "codes"),
    [
        ("3", ["RC103"]),
        ("{name: one}", ["RC103"]),
        ("[]", ["RC104"]),
        (str([{"name": f"run{n}"} for n in range(65)]), ["RC104"]),
        ("[3, {name: one}]", ["RC103"]),
        ("[{name: one}, {name: one}]", ["RC107"]),
        ("[{name: one}, {name: two words}]", ["RC107"]),
        ("[{name: one}, {name: 3}]", ["RC107"]),
        ("[{name: previous}]", ["RC107"]),
        ("[{name: {a: 1}}, {name: [b]}, {name: one}]", ["RC107", "RC107"]),
        ("[{seed: 3}]", ["RC102"]),
        (f"[{{name: {'x' * 60}}}, {{name: two}}]", ["RC107"]),
        ("[{name: one, sequence: [], extends: a, variables: {}, launch: {}}]", ["RC101"] * 4),
    ],
)
def test_what_can_not_be_a_run(tmp_path: Path, sequence: str, codes: list[str]) -> None:
    """Each has its finding with a place and a line to write, and the rest goes on."""
    runs, findings = split(tmp_path, f"{BASE}sequence: {sequence}\n")
    assert [finding.code for finding in findings] == codes
    assert all(f.span is not None and f.help and f.path.startswith("sequence") for f in findings)
    assert runs


def test_many_runs_of_a_large_recipe_are_refused(tmp_path: Path) -> None:
    """Values are counted with what each run shares, so that a short text can't become a huge recipe."""
    text = f"{BASE}big: {list(range(5000))}\nsequence: {[{'name': f'r{n}'} for n in range(30)]}\n"
    _, findings = split(tmp_path, text)
    assert [finding.code for finding in findings] == ["RC004"]
