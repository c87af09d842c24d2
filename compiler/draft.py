"""The plan under construction: sections fill up one by one, and each value says who set it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from compiler.catalogue import Device
from compiler.frontend.spans import SpanIndex, format_path
from compiler.frontend.tree import Node
from compiler.notes import Batch, Beginning, Efforts, Targets
from compiler.provenance import Because, Origins
from schemas.base import Frozen
from schemas.diagnostics import Diagnostic, DiagnosticsError, Severity
from schemas.plan import (
    BudgetPlan,
    DataPlan,
    HardwarePlan,
    ModelPlan,
    ParallelismPlan,
    PlainBudget,
    PrecisionPlan,
    Provenance,
    ResNetPlan,
    RunPlan,
    TokenizerPlan,
    TrainingPlan,
)
from schemas.recipe import Recipe
from schemas.units import Time

__all__ = ["Draft"]

Section = TypeVar("Section", bound=Frozen)


@dataclass(frozen=True)
class Draft:
    """Recipe and the sections decided so far. Reading one that no pass has filled is a fault of the pass order."""

    recipe: Recipe
    spans: SpanIndex
    roots: tuple[Path, ...] = ()
    """Folders in which relative paths of the recipe are looked up, in turn."""
    sections: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    findings: tuple[Diagnostic, ...] = ()
    efforts: Efforts | None = None
    """What an earlier round's estimate found; None in the first."""
    earlier: tuple[RunPlan, ...] = ()
    """Plans of the runs before this one in the recipe's sequence."""
    run: str | None = None
    """Its name in the sequence; None where the recipe is one run alone."""
    order: tuple[str, ...] = ()
    """Names of all runs of the sequence."""
    item: Node | None = None
    """What the run itself says in the sequence; the rest of its recipe is what all runs share."""

    def fill(self, name: str, section: Any, because: Mapping[str, Because]) -> Draft:
        """A copy with one more section.

        Args:
            name: section of the plan.
            section: its frozen value.
            because: path inside the section -> recipe path that it was taken from, or the reason it was decided for. What
                is not named stands in the recipe (or its defaults) under the same path.
        """
        if name in self.sections:
            raise RuntimeError(f"section {name} is written twice")
        return replace(
            self,
            sections={**self.sections, name: section},
            provenance={**self.provenance, **Origins(self.spans).of(name, section, because)},
        )

    def says(self, *path: str | int) -> bool:
        """Whether the run says a value itself, rather than sharing it with the other runs of its sequence."""
        node = self.item if self.item is not None else self.spans.root
        for key in path:
            node = node.child(key) if node is not None else None
        return node is not None

    @property
    def beginning(self) -> Beginning | None:
        """What is known of the weights that the run starts from, noted by passes/start.py; None for random ones."""
        found = self.sections.get("beginning")
        return found if isinstance(found, Beginning) else None

    def run_named(self, name: str) -> RunPlan | None:
        """An earlier run of the sequence by its name, or the one just before as `previous`; None if there is no such run."""
        if name == "previous":
            return self.earlier[-1] if self.earlier else None
        return next((run for run in self.earlier if run.run == name), None)

    def note(self, name: str, value: object) -> Draft:
        """A copy with an intermediate result that the plan itself doesn't hold."""
        return replace(self, sections={**self.sections, name: value})

    def find(self, *findings: Diagnostic) -> Draft:
        """A copy that carries further findings."""
        return replace(self, findings=(*self.findings, *findings))

    def fail(self, *findings: Diagnostic) -> DiagnosticsError:
        """The error that stops the compiler here, with all findings so far."""
        return DiagnosticsError((*self.findings, *findings))

    def diagnostic(
        self,
        code: str,
        message: str,
        *path: str | int,
        help: str = "",
        reason: str = "",
        label: str = "",
        severity: Severity = Severity.ERROR,
    ) -> Diagnostic:
        """A finding at the value of a recipe path, or at the closest line that the recipe does have."""
        return Diagnostic(
            code=code,
            message=message,
            span=self.spans.nearest(*path),
            path=format_path(path),
            help=self._as_said(help, path),
            reason=reason,
            label=label,
            severity=severity,
        )

    def _as_said(self, line: str, path: tuple[str | int, ...]) -> str:
        """`against: a` -> `bias: a` where the recipe says `bias: previous`, which is short for a mapping with that key."""
        above = self.spans.text(*path[:-1]) if len(path) > 1 else None
        start = f"{path[-1]}: " if above is not None else ""
        return f"{path[-2]}: {line.removeprefix(start)}" if start and line.startswith(start) else line

    def origin(self, path: str) -> Provenance:
        """Provenance of a value that stands in the plan as in the recipe."""
        return Origins(self.spans).of(path, getattr(self.recipe, path), {})[path]

    @staticmethod
    def path(*keys: str | int) -> str:
        """Keys as one dotted path; names with dots are quoted."""
        return format_path(keys)

    def steps_of(self, time: Time, *path: str | int) -> tuple[Draft, int]:
        """A time of the recipe in optimizer steps, with a finding if it can't be known."""
        try:
            return self, self.batch.steps_of(time)
        except ValueError:
            finding = self.diagnostic(
                "RC410",
                f"{time} needs the size of every source",
                *path,
                help="add `tokens:` to each of data.sources, or write the time in tok, ba or dur",
            )
            return self.find(finding), 0

    def _get(self, name: str, kind: type[Section]) -> Section:
        section = self.sections.get(name)
        if not isinstance(section, kind):
            raise RuntimeError(f"section {name} is read before a pass has filled it")
        return section

    @property
    def hardware(self) -> HardwarePlan:
        """Filled by passes/hardware.py."""
        return self._get("hardware", HardwarePlan)

    @property
    def device(self) -> Device:
        """The device with all its figures, noted by passes/hardware.py."""
        device = self.sections.get("device")
        if not isinstance(device, Device):
            raise RuntimeError("the device is read before a pass has noted it")
        return device

    @property
    def precision(self) -> PrecisionPlan:
        """Filled by passes/precision.py."""
        return self._get("precision", PrecisionPlan)

    @property
    def tokenizer(self) -> TokenizerPlan:
        """Filled by passes/tokenizer.py."""
        return self._get("tokenizer", TokenizerPlan)

    @property
    def targets(self) -> Targets:
        """Filled by passes/targets.py."""
        targets = self.sections.get("targets")
        if not isinstance(targets, Targets):
            raise RuntimeError("the targets are read before a pass has filled them")
        return targets

    @property
    def model(self) -> ModelPlan | ResNetPlan:
        """Filled by passes/model.py."""
        return self.resnet if self.is_classifier else self.decoder

    @property
    def decoder(self) -> ModelPlan:
        """The model of a language model's draft."""
        return self._get("model", ModelPlan)

    @property
    def resnet(self) -> ResNetPlan:
        """The model of an image classifier's draft."""
        return self._get("model", ResNetPlan)

    @property
    def is_classifier(self) -> bool:
        """Whether images are classified; else it is a language model."""
        return self.recipe.objective.kind == "classification"

    @property
    def sample_tokens(self) -> int:
        """Tokens of a sample: the sequence length, or 1 for an image."""
        return 1 if self.is_classifier else self.recipe.data.sequence_length

    @property
    def batch(self) -> Batch:
        """Filled by passes/batch.py."""
        return self._get("batch", Batch)

    @property
    def fragments(self) -> Any:
        """Filled by passes/techniques.py, beside `algorithms`."""
        return self.sections["fragments"]

    @property
    def parallelism(self) -> ParallelismPlan:
        """Filled by passes/parallelism.py."""
        return self._get("parallelism", ParallelismPlan)

    @property
    def microbatch(self) -> int:
        """Samples of one forward pass of a device, noted by passes/parallelism.py."""
        return int(self.sections["microbatch"])

    @property
    def training(self) -> TrainingPlan:
        """Filled by passes/training.py."""
        return self._get("training", TrainingPlan)

    @property
    def budget(self) -> PlainBudget:
        """Noted by passes/budget.py; passes/lifetime.py adds the dollars and fills the section."""
        return self._get("budget" if "budget" in self.sections else "unpriced", PlainBudget)

    @property
    def law_budget(self) -> BudgetPlan:
        """The budget of a language model's draft, with what the scaling law says."""
        return self._get("budget" if "budget" in self.sections else "unpriced", BudgetPlan)

    @property
    def data(self) -> DataPlan:
        """Filled by passes/data.py."""
        return self._get("data", DataPlan)
