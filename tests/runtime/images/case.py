"""Classifiers in tests: plans by hand, real digits prepared once a folder, and the training step on them.

Also a program, so that several ranks can train:  python -m tests.runtime.images.case FOLDER PLAN.json
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from runtime.steps import prepare
from runtime.steps import train as training
from runtime.steps.base import Context, Result
from schemas.plan import ResNetPlan, RunPlan
from tests.exports import resnet
from tests.factory import tiny_plan
from tests.runtime.plans import layout_of, metrics

__all__ = ["DIGITS", "layout_of", "metrics", "plan_of", "prepare_source", "prepared", "resnet", "step", "train"]

DIGITS = {"digits": {"builtin": "digits"}}


def plan_of(
    steps: int = 6,
    *,
    model: ResNetPlan | None = None,
    sources: dict[str, Any] | None = None,
    batch: int = 32,
    **changes: Any,
) -> RunPlan:
    """A classifier's plan: sources drawn equally, images of the model's size, grey from -1 to 1."""
    model, sources = model or resnet(), sources or DIGITS
    images, each = steps * batch, steps * batch // len(sources)
    phase = {
        "id": "phase0", "start_token": 0, "end_token": images,
        "sources": {name: {"samples": each, "tokens": each} for name in sources},
    }  # fmt: skip
    half = (0.5,) * model.channels
    data = {
        "sequence_length": 1, "sources": sources, "phases": [phase],
        "image": {"size": model.image_size, "channels": model.channels, "mean": half, "std": half},
    }  # fmt: skip
    names = [f"prepare-{name}" for name in sources]
    found = [step("prepare", [], name) for name in sources]
    found += [step("train", names), step("evaluate", [*names, "train"]), step("export", ["train", "evaluate"])]
    plan = {
        "name": "tiny-resnet",
        "objective": {"kind": "classification", **changes.pop("objective", {})},
        "tokenizer": None,
        "budget": {"tokens": images},
        "data": {**data, **changes.pop("data", {})},
        "training": {
            "steps": steps, "global_batch_samples": batch, "global_batch_tokens": batch, "microbatch": batch,
            **changes.pop("training", {}),
        },
        "evaluation": {"holdout": 0.1, "interval_steps": 3, "prompts": [], **changes.pop("evaluation", {})},
        "execution": {"threads": 1, **changes.pop("execution", {})},
        "logging": {"console": False},
        "steps": found,
    }  # fmt: skip
    return tiny_plan(model=model, **{**plan, **changes})


def step(kind: str, inputs: list[str], source: str | None = None) -> dict[str, Any]:
    """A step of the plan."""
    name = f"{kind}-{source}" if source else kind
    return {"id": name, "kind": kind, "inputs": inputs, "source": source, "devices": 1, "seconds": 1.0}


def prepare_source(plan: RunPlan, folder: Path, name: str, target: Path) -> dict[str, Any]:
    """Values of the prepare step of a source, which writes into `target`."""
    target.mkdir(parents=True)
    made = next(step for step in plan.steps if step.source == name)
    return prepare.run(made, Context(plan, layout_of(plan, folder)), {}, target)


def prepared(plan: RunPlan, folder: Path) -> dict[str, Result]:
    """Results of the prepare steps; shards are written once a folder."""
    results = {}
    for name in plan.data.sources:
        target = folder / "prepared" / name
        if not target.exists():
            values = prepare_source(plan, folder, name, target)
            (target / "values.json").write_text(json.dumps(values))
        values = json.loads((target / "values.json").read_text())
        results[f"prepare-{name}"] = Result(f"prepare-{name}", name.ljust(64, "0"), target, values)
    return results


def train(plan: RunPlan, folder: Path) -> dict[str, Any]:
    """Run the training step in this process."""
    layout = layout_of(plan, folder)
    layout.run.mkdir(parents=True, exist_ok=True)
    found = next(step for step in plan.steps if step.kind == "train")
    return training.run(found, Context(plan, layout), prepared(plan, folder), layout.run)


def main() -> None:
    """Train the plan of a file in a folder, and print the values from the first rank."""
    folder, path = Path(sys.argv[1]), Path(sys.argv[2])
    values = train(RunPlan.model_validate_json(path.read_text()), folder)
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()
