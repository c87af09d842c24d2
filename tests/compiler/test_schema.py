"""compiler.schema_docs: the generated files are fresh, and the schema takes what the compiler takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from compiler.schema_docs import documents, plan_schema, recipe_schema
from schemas.codes import CATALOGUE
from schemas.recipe import Preamble, Recipe
from tests.factory import tiny_plan

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(recipe_schema())
SPARKS_JOY = """
name: sparks-joy-1b
model: {family: llama, size: auto}
budget: {match_chinchilla: 7B, inference: {requests: 3.5B, input_tokens: 70, output_tokens: 215}, max_cost: $60k}
hardware: {gpu: h100-sxm-80gb, count: 64, price: $2.10/gpu-hour}
data:
  sequence_length: 4096
  sources:
    web:  {mds: s3://corpus/web}
    code: {mds: s3://corpus/code}
    math: {jsonl: data/math/*.jsonl.zst, text: content}
  mixture:
    - {from: 0dur,   weights: {web: 0.71, code: 0.22, math: 7%}}
    - {from: 0.8dur, weights: {web: 0.30, code: 0.35, math: 0.35}}
precision: bf16
objective: causal_lm
"""
SMALL = "name: a\ndata: {sources: {x: {builtin: cpython-docs}}}\n"


def parse(text: str) -> Any:
    """Plain values of a YAML text."""
    return YAML(typ="safe", pure=True).load(text)


def problems(recipe: Any) -> list[str]:
    """What the schema says against a recipe."""
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(recipe)]


@pytest.mark.parametrize(
    "path", ["schemas/recipe.schema.json", "schemas/plan.schema.json", "docs/errors.md", "docs/recipe.md"]
)
def test_committed_files_are_fresh(path: str) -> None:
    """`make schemas` has been run since the types changed last."""
    assert (ROOT / path).read_text(encoding="utf-8") == documents()[path]


@pytest.mark.parametrize("schema", [recipe_schema(), plan_schema()], ids=["recipe", "plan"])
def test_schemas_are_schemas(schema: dict[str, Any]) -> None:
    """Both obey the draft that they name, and use only keywords that it knows."""
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    assert not {"gt", "ge", "lt", "le"} & set(re.findall(r'"(\w+)":', json.dumps(schema)))


def test_every_key_is_documented() -> None:
    """Each key of the recipe has a description, and every top-level key is there."""
    schema = recipe_schema()
    owners = {"": schema, **schema["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, owner in owners.items()
        for key, value in owner.get("properties", {}).items()
        if not value.get("description")
    ]
    assert bare == []
    assert set(schema["properties"]) == {*Recipe.model_fields, *Preamble.model_fields}


@pytest.mark.parametrize("path", sorted([*ROOT.glob("recipes/*.yaml")]), ids=lambda path: path.stem)
def test_gallery_is_accepted(path: Path) -> None:
    """Every recipe of the gallery is fine for an editor that uses the schema."""
    assert problems(parse(path.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        SPARKS_JOY,
        SMALL
        + "training: {batch: 2M tok, optimizer: {lr: '${lr}', betas: ['${b}', 0.95]}, compile: '${c}'}\nseed: ${seed}",
        SMALL + "precision: ${p}\nvariables: {p: bf16, x: [1, {a: b}]}",
        SMALL + "seed: 1.0e+3\nbudget: {max_hours: 3600s, tokens: 1_000_000}",
        SMALL + "compression: [{kind: pruning, sparsity: 50%}]\naveraging: null",
        "extends: base.yaml\ndata: {sources: {web: {tokens: 3B}}}\ndistillation: {weight: 0.1}",
        "extends: [a.yaml, b.yaml]",
    ],
)
def test_valid_recipes_are_accepted(text: str) -> None:
    """Shorthand words, quantities, variables, and parts of sections in recipes that extend others."""
    assert problems(parse(text)) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: a", "$"),
        ("name: a\ndata: {}", "$.data"),
        ("name: a\ndata: {sources: {x: {tokens: 3B}}}", "$.data.sources.x"),
        ("name: a\ndata: {sources: {x: {files: a, mds: b}}}", "$.data.sources.x"),
        ("name: a/b\ndata: {sources: {x: {files: a}}}", "$.name"),
        ("name: a\ndata: {sources: {'x y': {files: a}}}", "$.data.sources"),
        (SMALL + "sed: 3", "$"),
        (SMALL + "training: {optimizer: {lr: -1}}", "$.training.optimizer.lr"),
        (SMALL + "training: {optimizer: {kind: adam}}", "$.training.optimizer.kind"),
        (SMALL + "training: {compile: 1}", "$.training.compile"),
        (SMALL + "precision: bf61", "$.precision"),
        (SMALL + "budget: {tokens: 8h}", "$.budget.tokens"),
        (SMALL + "budget: {max_hours: 300B tok}", "$.budget.max_hours"),
        (SMALL + "training: {schedule: {warmup: 1%}}", "$.training.schedule.warmup"),
        (SMALL + "distillation: {teacher: big, weight: 2}", "$.distillation"),
        (SMALL + "compression: [{sparsity: 0.5}]", "$.compression[0]"),
        ("extends: a.yaml\ntraining: {lr: 1}", "$.training"),
        ("extends: a.yaml\nvariables: 3", "$.variables"),
    ],
)
def test_invalid_recipes_are_refused(text: str, place: str) -> None:
    """Unknown keys, wrong words, missing keys: underlined in the editor where they stand."""
    found = problems(parse(text))
    assert any(line.startswith(f"{place}: ") for line in found), found


def test_plans_are_accepted() -> None:
    """A plan as it is written obeys the plan's schema, and one with an unknown key doesn't."""
    validator = jsonschema.Draft202012Validator(plan_schema())
    plan = tiny_plan().model_dump(mode="json", by_alias=True)
    assert list(validator.iter_errors(plan)) == []
    assert not validator.is_valid({**plan, "extra": 1})


def test_defaults_are_written_as_in_a_recipe() -> None:
    """A default can be pasted into a recipe: `0.25dur`, not a pair."""
    assert recipe_schema()["$defs"]["Evaluation"]["properties"]["interval"]["default"] == "0.25dur"


def test_pages_hold_every_code_and_section() -> None:
    """docs/errors.md has each code, docs/recipe.md each section and its required keys."""
    pages = documents()
    assert re.findall(r"^## (RC\d+)", pages["docs/errors.md"], re.MULTILINE) == sorted(CATALOGUE)
    assert "## training.optimizer\n" in pages["docs/recipe.md"]
    assert "## data.sources.NAME (parquet)\n" in pages["docs/recipe.md"]
    assert "| `name` | text, such as `quickstart` | **required** |" in pages["docs/recipe.md"]
    assert "| `size` | `auto` or quantity, such as `auto`, `1.3B` |" in pages["docs/recipe.md"]
