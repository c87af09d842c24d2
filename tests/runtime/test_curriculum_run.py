"""A curriculum from recipe to training, nothing replaced: real text is scored, and the easy part of it is trained on first."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from pydoc_data import topics

import numpy as np
import pytest
import torch

from compiler.pipeline import compile_recipe
from runtime import feed
from runtime.data.planned_dataset import Sample, collate
from runtime.execute import Outcome, execute
from runtime.layout import Layout
from runtime.record import step_folder
from schemas.plan import RunPlan
from tests.recipes import ROOT
from tests.runtime.corpus import rows

RECIPE = ROOT / "recipes" / "curriculum-readability.yaml"
LENGTH = 64
SMALL = (
    f"data.sequence_length={LENGTH}", "data.mixture=[]", "tokenizer={vocab_size: 512}", "budget.tokens=50k tok",
    "training.batch=512 tok", "model={hidden_size: 16, num_layers: 1, num_heads: 2}", "evaluation.interval=1dur",
    "checkpoints.interval=1dur", "launch={threads: 1}",
)  # fmt: skip
CURRICULUM = "{by: flesch_reading_ease, pacing: sqrt, start: 0.02, duration: 0.6dur, buckets: 50}"


def write_text(folder: Path) -> tuple[str, str]:
    """Paragraphs of Python's documentation as two sources; the overrides that name them."""
    blocks = [block for text in topics.topics.values() for block in text.split("\n\n")]
    prose = [textwrap.dedent(block) for block in blocks if len(block.split()) > 30][:900]
    for number, name in enumerate(("code", "prose")):
        lines = (json.dumps({"text": text}) for text in prose[number::2])
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return "data.sources.code={jsonl: code.jsonl}", "data.sources.prose={jsonl: prose.jsonl}"


def trained(
    plan: RunPlan, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, list[int]], Outcome, Layout]:
    """Samples of each source in the order in which the loader gave them to training, and how it ended."""
    batches: list[Sequence[Sample]] = []

    def recorded(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        batches.append(samples)
        return collate(samples)

    monkeypatch.setattr(feed, "collate", recorded)
    layout = Layout.of(plan, roots=(folder,), runs=folder / "runs")
    layout.run.mkdir(parents=True)
    outcome = execute(plan, layout, only=[step.id for step in plan.steps if step.kind not in ("evaluate", "export")])
    found: dict[str, list[int]] = {}
    for number, name in enumerate(plan.data.sources):
        train = folder_of(plan, layout, outcome, f"prepare-{name}") / "train"
        numbers: dict[bytes, list[int]] = {}
        for i, sample in enumerate(rows(train)):  # the documentation says a few things twice
            numbers.setdefault(sample.astype(np.int64).tobytes(), []).append(i)
        mine = [drawn[0].astype(np.int64).tobytes() for batch in batches for drawn in batch if drawn[1] == number]
        found[name] = [numbers[tokens].pop() for tokens in mine]
    return found, outcome, layout


def folder_of(plan: RunPlan, layout: Layout, outcome: Outcome, name: str) -> Path:
    """Where a step left its files."""
    step = next(step for step in plan.steps if step.id == name)
    return step_folder(step, outcome.records[name].key, layout)


def test_easy_text_is_trained_on_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the mix, beside a warm-up of length: what is drawn becomes harder, batch by batch and in each source."""
    said = f"data.curriculum=[{CURRICULUM}, {{kind: sequence_length_warmup, start_length: 16, duration: 0.3dur}}]"
    plan = compile_recipe(RECIPE, (*SMALL, *write_text(tmp_path), said)).expect()
    drawn, outcome, layout = trained(plan, tmp_path, monkeypatch)
    values = outcome.records["train"].values

    assert {name: len(samples) for name, samples in drawn.items()} == values["samples_per_source"]
    for name, samples in drawn.items():
        ease = np.load(folder_of(plan, layout, outcome, f"score-{name}") / "flesch_reading_ease.npy")
        assert len(samples) == len(set(samples)) < len(ease)
        first, middle, last = (float(np.nanmean(ease[part])) for part in np.array_split(np.array(samples), 3))
        assert (
            first > middle + 4 > last + 8
        )  # the documentation is that of the Python that runs, which moves it by half a point
    # Sequences were cut off while they warmed up.
    assert values["status"] == "finished"
    assert values["trained_tokens"] < 0.95 * values["tokens"]
