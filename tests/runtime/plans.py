"""Plans on disk and steps without weight, for tests of what executes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runtime.layout import Layout
from runtime.steps.base import Context, Inputs, StepModule
from schemas.fingerprint import fingerprint, resume_key
from schemas.plan import RunPlan, Step
from tests.factory import tiny_plan

__all__ = ["LightStep", "layout_of", "light_modules", "metrics", "sealed", "sealed_plan", "write_plan"]


def sealed(plan: RunPlan) -> RunPlan:
    """A plan with the fingerprint and the resume key that its content has."""
    return plan.model_copy(update={"fingerprint": fingerprint(plan), "resume_key": resume_key(plan)})


def sealed_plan(**changes: Any) -> RunPlan:
    """The tiny plan with the fingerprint and the resume key that its content has."""
    return sealed(tiny_plan(**changes))


def write_plan(plan: RunPlan, path: Path) -> Path:
    """A plan as a file; JSON is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plan.model_dump(mode="json", by_alias=True)), encoding="utf-8")
    return path


def layout_of(plan: RunPlan, folder: Path) -> Layout:
    """A layout below `folder`."""
    return Layout.of(plan, roots=(folder,), runs=folder / "runs")


def metrics(plan: RunPlan, folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in layout_of(plan, folder).metrics.read_text().splitlines()]


class LightStep:
    """A step kind that writes one small file, counts its runs and returns given values."""

    def __init__(self, values: Mapping[str, Any], identity: Any = "v1") -> None:
        self.values = dict(values)
        self.given_identity = identity
        self.runs: list[str] = []
        self.act: Callable[[Step, Path], None] = lambda step, folder: None

    def identity(self, step: Step, context: Context, inputs: Inputs) -> Any:
        """What the test says, for this step."""
        return [step.id, self.given_identity]

    def run(self, step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:
        """Write `made`, do what the test says, and return the values."""
        self.runs.append(step.id)
        (folder / f"{step.kind}-made").write_text(step.id)
        self.act(step, folder)
        if step.kind == "train":
            (context.layout.checkpoints / "ba00000012").mkdir(parents=True, exist_ok=True)
        if step.kind == "export":
            context.layout.export.mkdir(exist_ok=True)
            (context.layout.export / "config.json").write_text("{}")
        return {**self.values, "source": step.source} if step.source else dict(self.values)


def light_modules() -> tuple[dict[str, LightStep], Callable[[str], StepModule]]:
    """One light step per kind with values such as the real ones return, and the function that finds them."""
    share = {"remote": None, "local": "train", "first_sample": 0, "samples": 48, "tokens": 3072, "bytes": 9000}
    trained = {
        "status": "finished", "steps": 12, "tokens": 6144, "seconds": 3.5, "loss": 5.25, "initial_loss": 6.25,
        "tokens_per_source": {"code": 4608, "prose": 1536}, "samples_per_source": {"code": 72, "prose": 24},
        "tokens_per_s": 1755.4, "mfu": 0.12, "resumed_from": None, "world_size": 1,
        "checkpoint": "checkpoints/ba00000012",
        "spend": {"seconds": 5.0, "device_seconds": 5.0, "usd": 5.0, "stopped_by": None, "cap": 0.0},
    }  # fmt: skip
    before = {"loss": 6.25, "perplexity": 518.0, "bits_per_byte": 4.0}
    after = {"loss": 5.0, "perplexity": 148.4, "bits_per_byte": 3.2}
    steps = {
        "tokenizer": LightStep({"vocab_size": 512, "eos_token_id": 0}),
        "prepare": LightStep({"train": share, "heldout": share, "skipped": {"empty": 2}, "content_sha256": "ab" * 32}),
        "train": LightStep(trained),
        "evaluate": LightStep(
            {
                "sources": {"code": {"untrained": before, "trained": after, "tokens": 3072, "bytes": 9000}},
                "samples": [{"prompt": "def main(", "text": "self):\n    return \x1b[31mred"}],
            }
        ),
        "export": LightStep({"folder": "export", "bytes": 107_648, "files": {}}),
    }
    return steps, lambda kind: steps[kind]
