"""README.md: each recipe that it shows compiles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.recipes import ROOT, plan_text

BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
BASE = """\
name: base
data: {sources: {own: {jsonl: data/*.jsonl, tokens: 10T}}}
"""
SMALL = """\
name: base
model: {size: 125M}
budget: {tokens: 1B tok}
"""


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split(":", 1)[0] for block in BLOCKS])
def test_each_block_compiles(block: str, tmp_path: Path) -> None:
    """Alone, or over what it leaves out: the data, or a model and its budget."""
    (tmp_path / "base.yaml").write_text(SMALL if "data:" in block else BASE, encoding="utf-8")
    text = block if block.startswith("name:") else f"extends: base.yaml\nname: block\n{block}"

    assert plan_text(text, tmp_path).data.phases
