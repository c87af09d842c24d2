"""Where a run's files are. The plan holds no absolute path; these are chosen when the run starts.

<runs>/cache/tokenizer-<key>/   shared by all runs: same key, same content
<runs>/cache/prepare-<key>/     train/ and heldout/ (MDS), train-documents.npy, result.json
<runs>/cache/score-<key>/       values and order of a source's samples by a metric, result.json
<runs>/cache/scores/            scores of documents, which outlive sequence lengths and shards
<runs>/<name>-<fp8>/            plan.yaml, lock, steps/<id>.json, checkpoints/, compressed/, export/, metrics.jsonl,
                                run_report.json, pictures; of a sequence's last run also sequence_report.json and report.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schemas.plan import RunPlan

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Folders of one run.

    Args:
        roots: folders in which relative paths of the plan are looked up, in turn (beside the recipe, the current one).
        runs: parent of all runs.
        cache: folder of prepared data, shared by runs.
        run: folder of this run.
    """

    roots: tuple[Path, ...]
    runs: Path
    cache: Path
    run: Path

    @classmethod
    def of(cls, plan: RunPlan, *, roots: tuple[Path, ...], runs: Path) -> Layout:
        """The layout of a plan; `plan.execution.cache` wins over `<runs>/cache`."""
        cache = Path(plan.execution.cache).expanduser() if plan.execution.cache else runs / "cache"
        return cls(
            roots=tuple(root.resolve() for root in roots),
            runs=runs.resolve(),
            cache=cache.resolve(),
            run=(runs / f"{plan.name}-{plan.short_fingerprint}").resolve(),
        )

    @property
    def checkpoints(self) -> Path:
        """Holds one folder a checkpoint: ba00000100/ with its manifest."""
        return self.run / "checkpoints"

    @property
    def compressed(self) -> Path:
        """Weights of the finished model as they are shipped, where techniques make them smaller."""
        return self.run / "compressed"

    @property
    def export(self) -> Path:
        """The finished model as a Hugging Face folder."""
        return self.run / "export"

    @property
    def metrics(self) -> Path:
        """JSON lines, one a logged batch."""
        return self.run / "metrics.jsonl"

    @property
    def spend(self) -> Path:
        """What the training has cost so far."""
        return self.run / "spend.json"

    @property
    def report(self) -> Path:
        """Planned against actual."""
        return self.run / "run_report.json"

    @property
    def sequence_report(self) -> Path:
        """All runs of a sequence beside each other, in the folder of the last one."""
        return self.run / "sequence_report.json"

    @property
    def page(self) -> Path:
        """The same as a page."""
        return self.run / "report.html"

    @property
    def mixture(self) -> Path:
        """Picture of each source's share over time, planned and drawn."""
        return self.run / "mixture.svg"

    def step_result(self, step_id: str) -> Path:
        """Written when a step of the run itself (train, evaluate, export) is finished."""
        return self.run / "steps" / f"{step_id}.json"
