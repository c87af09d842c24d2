"""docs/ and README.md: what they show compiles, what they point to is there, what they call exists."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from compiler.cli import app
from schemas.codes import CATALOGUE
from schemas.recipe import Recipe
from tests.exports import export_of
from tests.recipes import ROOT, plan_text

# The log tells of what was.
PAGES = [path for path in (ROOT / "docs").rglob("*.md") if path.name != "log.md"] + [ROOT / "README.md"]
KEYS = {info.alias or name for name, info in Recipe.model_fields.items()} | {"sequence"}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CALL = re.compile(r"(?:`|^    |^\$ |^|&& )recipec ([a-z]+)([^`\n#]*)", re.MULTILINE)
OURS = re.compile(r"`((?:compiler|runtime|schemas|tests|recipes|benchmarks|docs)/[\w./-]+)`")

BASE = """\
name: base
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources: {web: {jsonl: web.jsonl}, code: {jsonl: code.jsonl}, math: {jsonl: math.jsonl}}
budget: {tokens: 1024k tok}
hardware: {gpu: h100-sxm-80gb}
training: {batch: 2048 tok}
"""
MODEL = "model: {hidden_size: 64, num_layers: 2, num_heads: 4, intermediate_size: 192}\n"
# What a fragment stands in, where it isn't BASE alone.
AROUND = {
    "bias.md": "sequence: [{name: a}, {name: b, model: {start: {run: previous}}}]\n",
    "techniques/distillation.md": "sequence: [{name: a}, {name: b}]\n",
}
WEIGHTS = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
    "intermediate_size": 192, "vocab_size": 2048, "max_position_embeddings": 512, "tie_word_embeddings": True,
}  # fmt: skip


def _name(page: Path) -> str:
    return page.relative_to(ROOT / "docs" if page.is_relative_to(ROOT / "docs") else ROOT).as_posix()


def _alternatives(block: str) -> Iterator[str]:
    """A block, or each of its lines where they are written below each other instead of each other."""
    lines = [line for line in block.splitlines() if line.strip()]
    tops = [line.split(":")[0] for line in lines if not line.startswith((" ", "#"))]
    if len(set(tops)) < len(tops):
        yield from lines
    elif "# or:" in block:
        yield from (f"{lines[0]}\n{item}" for item in lines[1:])
    else:
        yield block


def _blocks() -> Iterator[tuple[str, str]]:
    """Page and YAML: fenced, or indented and beginning with a key of the recipe."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        indented = re.findall(r"(?:^    .*\n)+", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
        found += [block for each in indented if (block := textwrap.dedent(each)).split(":")[0] in KEYS]
        yield from ((_name(page), one) for block in found for one in _alternatives(block) if page.name != "README.md")


BLOCKS = list(_blocks())


def _folder(place: Path) -> None:
    """What the pages take to be there: trained weights with a tokenizer, an exported classifier, a cluster's calibration."""
    place.joinpath("models/base").mkdir(parents=True)
    place.joinpath("models/base/config.json").write_text(json.dumps(WEIGHTS), encoding="utf-8")
    vocabulary = {f"t{number}": number for number in range(2048)}
    tokenizer = {"model": {"vocab": vocabulary}, "added_tokens": []}
    place.joinpath("models/base/tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    export_of(place / "runs/digits-d9915350/export")
    shutil.copy(ROOT / "tests/compiler/site.json", place / "cluster.json")


def test_pages_have_blocks() -> None:
    """And calls: else nothing below is tested."""
    assert sum(len(CALL.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 40
    assert len(BLOCKS) > 25
    assert {f"techniques/{path.name}" for path in (ROOT / "docs/techniques").iterdir()} <= {page for page, _ in BLOCKS}


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}-{n}" for n, (page, _) in enumerate(BLOCKS)])
def test_what_a_page_shows_is_a_recipe(page: str, block: str, tmp_path: Path) -> None:
    """As a whole, or over a small one."""
    _folder(tmp_path)
    if block.startswith("name:"):
        assert plan_text(block, tmp_path).steps
        return
    base = BASE + AROUND.get(page, "")
    if "models/base" in block:
        base = base.replace("tokenizer: {vocab_size: 2048}\n", "")
    else:
        base += MODEL.replace("{", "{family: gpt2, ", 1) if "norms: low" in block else MODEL
    (tmp_path / "base.yaml").write_text(base, encoding="utf-8")
    assert plan_text(f"extends: base.yaml\nname: block\n{block}", tmp_path).steps


def _anchors(page: Path) -> set[str]:
    """Of the page's titles, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    """Within the repository: files, and titles in them."""
    text = page.read_text(encoding="utf-8")
    lost = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            lost.append(link)
    lost += [path for path in OURS.findall(text) if not (ROOT / path).exists()]
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_what_is_called_exists(page: Path) -> None:
    """Commands of recipec and their options, targets of make, codes of errors."""
    text = page.read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group's
    called = CALL.findall(text)
    unknown = [verb for verb, _ in called if verb not in commands]
    for verb, rest in called:
        known = (
            {option for parameter in commands[verb].params for option in parameter.opts} if verb in commands else set()
        )
        unknown += [
            f"{verb} {option}" for option in re.findall(r"(?<!\S)--[a-z-]+", rest) if option not in known | {"--help"}
        ]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    unknown += [
        target
        for target in re.findall(r"(?:`|^|    )make ([a-z-]+)(?=`|\s*$|\s+#)", text, re.MULTILINE)
        if target not in targets
    ]
    unknown += [code for code in re.findall(r"RC\d{3}", text) if code not in CATALOGUE]
    assert not unknown
