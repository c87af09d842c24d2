"""Reading a plan at the runtime's door."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import DataError
from runtime.load import load_plan
from schemas.plan import FORMAT_VERSION
from tests.runtime.plans import sealed_plan, write_plan


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Writing and reading a plan gives an equal plan."""
    plan = sealed_plan()
    assert load_plan(write_plan(plan, tmp_path / "plan.yaml")) == plan


def test_block_style_yaml_is_read(tmp_path: Path) -> None:
    """YAML's block style, as the compiler writes it, gives the same plan; floats stay exact."""
    from ruamel.yaml import YAML

    plan = sealed_plan()
    path = tmp_path / "plan.yaml"
    with path.open("w") as handle:
        YAML(typ="safe").dump(plan.model_dump(mode="json", by_alias=True), handle)
    assert load_plan(path) == plan


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "", "damaged"),
        (lambda text: "- a\n- b\n", "no mapping"),
        (lambda text: "x: !!python/object/apply:os.system ['true']\n", "damaged"),
        (lambda text: text.replace(f'"format_version": "{FORMAT_VERSION}"', '"format_version": "99.0"'), "format 99.0"),
        (lambda text: text.replace(f'"format_version": "{FORMAT_VERSION}",', ""), "format_version"),
        (lambda text: text.replace('"lr": 0.003', '"lr": 0.004'), "was edited"),
        (lambda text: text.replace('"lr": 0.003', '"lr": "fast"'), "training.optimizer.lr"),
        (lambda text: text.replace('"seed": 17', '"seed": 17, "sead": 18'), "sead"),
        (lambda text: text.replace('"tokens": 6144', '"tokens": 6145'), "the budget is 6145 tokens"),
    ],
)
def test_what_is_no_sound_plan_is_refused(tmp_path: Path, damage: Callable[[str], str], said: str) -> None:
    """Truncated, empty, foreign, edited and incoherent plans end as RC605 that names the file and the reason."""
    path = write_plan(sealed_plan(), tmp_path / "plan.yaml")
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    with pytest.raises(DataError) as caught:
        load_plan(path)
    assert caught.value.code == "RC605"
    assert str(path) in caught.value.message
    assert said in caught.value.message


def test_a_newer_minor_version_is_read(tmp_path: Path) -> None:
    """A plan of a later minor format is read, if it has no key that the reader doesn't know."""
    newer = f"{FORMAT_VERSION.partition('.')[0]}.99"
    plan = sealed_plan(format_version=newer)
    assert load_plan(write_plan(plan, tmp_path / "plan.yaml")).format_version == newer


def test_paths_that_hold_no_text_are_refused(tmp_path: Path) -> None:
    """A missing file, a folder and binary bytes are RC605, without a traceback."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "missing.yaml", tmp_path, binary):
        with pytest.raises(DataError) as caught:
            load_plan(path)
        assert caught.value.code == "RC605"


def test_execution_may_be_edited(tmp_path: Path) -> None:
    """The number of workers is no part of the fingerprint, so a plan with another one is the same plan."""
    path = write_plan(sealed_plan(), tmp_path / "plan.yaml")
    content = json.loads(path.read_text())
    content["execution"]["workers"] = 3
    path.write_text(json.dumps(content))
    assert load_plan(path).execution.workers == 3
