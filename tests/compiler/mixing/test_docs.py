"""docs/mixture.md: each block of it compiles within a small recipe, and means what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from schemas.plan import RunPlan
from tests.compiler.mixing.cases import shares
from tests.recipes import ROOT, plan_text

PAGE = (ROOT / "docs" / "mixture.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^## (.*?)$.*?```yaml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
BASE = """\
name: base
model: {hidden_size: 64, num_layers: 2, num_heads: 4}
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources: {web: {jsonl: data/web/*.jsonl}, code: {jsonl: data/code/*.jsonl}, math: {jsonl: data/math/*.jsonl}}
budget: {tokens: 1024k tok}
training: {batch: 1024 tok}
"""


def compiled(title: str, folder: Path) -> RunPlan:
    """The plan of a section's block over the base."""
    (folder / "base.yaml").write_text(BASE, encoding="utf-8")
    return plan_text(f"extends: base.yaml\nname: block\n{dict(BLOCKS)[title]}", folder)


def test_the_page_has_a_block_for_each_thing() -> None:
    """Those that the tests below look at."""
    assert [title for title, _ in BLOCKS] == [
        "Knots",
        "Transitions",
        "Domain upsampling",
        "Limits, epochs, and what runs dry",
    ]


@pytest.mark.parametrize("title", [title for title, _ in BLOCKS])
def test_each_block_is_a_recipe_s(title: str, tmp_path: Path) -> None:
    """Nothing of the page is refused."""
    assert compiled(title, tmp_path).data.phases


def test_what_the_page_says_of_its_blocks(tmp_path: Path) -> None:
    """Shares of the first block, pieces of the second, the mix of the third."""
    assert shares(compiled("Knots", tmp_path))[1] == pytest.approx({"web": 0.4, "code": 0.3, "math": 0.3}, abs=0.001)
    ids = [phase.id for phase in compiled("Transitions", tmp_path).data.phases]
    assert ids[:3] == ["phase0", "phase1.01", "phase1.02"]
    assert (ids[40], ids[41], ids[-1]) == ("phase1.40", "phase2.01", "phase2.50")
    upsampled = shares(compiled("Domain upsampling", tmp_path))[-1]
    assert upsampled == pytest.approx({"web": 0.3, "code": 0.35, "math": 0.35}, abs=0.001)


@pytest.mark.parametrize("recipe", sorted(set(re.findall(r"recipes/([\w-]+)\.yaml", PAGE)) - {"mine"}))
def test_recipes_that_the_page_names_exist(recipe: str) -> None:
    """And they are about what it says."""
    content = YAML(typ="safe").load((ROOT / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8"))
    said = content["data"]
    assert "domain_upsampling" in said or {knot.get("transition") for knot in said["mixture"]} >= {"linear", "cosine"}
