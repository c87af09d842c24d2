"""Small corpora, tokenizers and contexts for the tests of data."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.layout import Layout
from runtime.steps import prepare, tokenizer
from runtime.steps.base import Context, Result
from schemas.plan import RunPlan
from schemas.sources import Source
from tests.factory import tiny_plan

VOCAB_SIZE = 300


def plan_of(sources: dict[str, Any], **changes: Any) -> RunPlan:
    """The tiny plan on other sources, each drawn equally, with a vocabulary of 300."""
    tokens, samples = 64 * 8 * 12, 8 * 12
    share = samples // len(sources)
    phase = {
        "id": "phase0", "start_token": 0, "end_token": tokens,
        "sources": {name: {"samples": share, "tokens": share * 64} for name in sources},
    }  # fmt: skip
    data = {"sources": sources, "phases": [phase], **changes.pop("data", {})}
    steps = [_step("tokenizer"), *(_step("prepare", name) for name in sources)]
    bpe = {"vocab_size": VOCAB_SIZE, **changes.pop("tokenizer", {})}
    return tiny_plan(data=data, tokenizer=bpe, steps=steps, **changes)


def _step(kind: str, source: str | None = None) -> dict[str, Any]:
    inputs = ["tokenizer"] if source else []
    name = f"{kind}-{source}" if source else kind
    return {"id": name, "kind": kind, "inputs": inputs, "source": source, "devices": 1, "seconds": 1.0}


def context_of(plan: RunPlan, *roots: Path) -> Context:
    """A context that looks below `roots`."""
    return Context(plan, Layout.of(plan, roots=roots, runs=roots[0] / "runs"))


def run_tokenizer(context: Context, folder: Path) -> Result:
    """The tokenizer step's result."""
    folder.mkdir(parents=True)
    values = tokenizer.run(context.plan.steps[0], context, {}, folder)
    return Result("tokenizer", "0" * 16, folder, values)


def run_prepare(context: Context, name: str, made: Result, folder: Path) -> dict[str, Any]:
    """Values of the prepare step of a source."""
    folder.mkdir(parents=True)
    step = next(step for step in context.plan.steps if step.source == name)
    return prepare.run(step, context, {"tokenizer": made}, folder)


def source_of(plan: RunPlan, name: str) -> Source:
    """A source of the plan."""
    return plan.data.sources[name]


def rows(folder: Path) -> list[NDArray[np.unsignedinteger[Any]]]:
    """The samples of an MDS folder (Streaming's own LocalDataset leaves its files open)."""
    from streaming.base.format import reader_from_json

    index = json.loads((folder / "index.json").read_text())
    readers = [reader_from_json(str(folder), "", shard) for shard in index["shards"]]
    return [reader[i]["tokens"] for reader in readers for i in range(reader.samples)]


def words(seed: int, count: int) -> str:
    """`count` words in lines of about ten, the same for each seed."""
    draw = random.Random(seed)
    vocabulary = [
        "sun",
        "moon",
        "river",
        "stone",
        "walks",
        "under",
        "the",
        "a",
        "light",
        "dances",
        "naïve",
        "42",
        "x = 1",
    ]
    text = [draw.choice(vocabulary) + ("\n" if draw.random() < 0.1 else " ") for _ in range(count)]
    return "".join(text)


def write_files(folder: Path, count: int, *, num_words: int = 60) -> Path:
    """`count` text files below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i:04d}.txt").write_text(words(i, num_words))
    return folder
