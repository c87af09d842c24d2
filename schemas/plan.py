"""The plan: every decision made, frozen, fingerprinted. It is all that crosses from compiler to runtime.

No field means "decide later". Times are tokens or optimizer steps, sizes are exact integers, paths are as the recipe wrote
them (the runtime resolves them against its root). Whole-plan invariants are validators here, so that the runtime's door
checks them too.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from schemas.base import Float, Frozen, Integer, Name
from schemas.counted import IMAGES, TOKENS, Counted
from schemas.evaluation import BiasPlan
from schemas.forecast import Estimate, HardwarePlan, SequenceTotals, ShippedPlan, TechniqueCost
from schemas.sections.budget import BudgetPlan, ChoicePlan, LawPlan, PlainBudget, Promise, ServingPlan
from schemas.sections.data import DataPlan, ImagePlan, PhasePlan, SourceShare
from schemas.sections.model import ModelPlan, ObjectivePlan, ResNetPlan, StartPlan, TokenizerPlan
from schemas.sections.outputs import CheckpointsPlan, EvaluationPlan, ExecutionPlan, LoggingPlan, ScoringPlan, SlurmPlan
from schemas.sections.training import (
    LossScalePlan,
    OptimizerPlan,
    ParallelismPlan,
    PrecisionPlan,
    SchedulePlan,
    TrainingPlan,
)
from schemas.techniques import AnyAlgorithm

__all__ = [
    "FORMAT_VERSION",
    "HOLDS_DEVICES",
    "BiasPlan",
    "BudgetPlan",
    "CheckpointsPlan",
    "ChoicePlan",
    "DataPlan",
    "Estimate",
    "EvaluationPlan",
    "ExecutionPlan",
    "HardwarePlan",
    "ImagePlan",
    "LawPlan",
    "LoggingPlan",
    "LossScalePlan",
    "ModelPlan",
    "ObjectivePlan",
    "OptimizerPlan",
    "ParallelismPlan",
    "PhasePlan",
    "PlainBudget",
    "PrecisionPlan",
    "Promise",
    "Provenance",
    "ResNetPlan",
    "RunPlan",
    "SchedulePlan",
    "ScoringPlan",
    "SequenceTotals",
    "ServingPlan",
    "ShippedPlan",
    "SlurmPlan",
    "SourceShare",
    "StartPlan",
    "Step",
    "StepKind",
    "TechniqueCost",
    "TokenizerPlan",
    "TrainingPlan",
]

FORMAT_VERSION = "2.0"
"""major.minor: a reader ignores a newer minor and refuses another major."""

StepKind = Literal["tokenizer", "prepare", "score", "logits", "train", "compress", "evaluate", "compare", "export"]

HOLDS_DEVICES: Final[frozenset[StepKind]] = frozenset({"logits", "train", "compress", "evaluate", "compare", "export"})
"""Kinds of steps that run models, for which the run's devices are held and paid; the others need a machine without any."""


class Step(Frozen):
    """One node of the plan's graph."""

    id: Name
    kind: StepKind
    inputs: tuple[Name, ...] = Field(description="Ids of the steps whose outputs it reads.")
    source: Name | None = Field(description="prepare, score: the source it works on.")
    devices: Integer = Field(description="Processes it runs on; 1 for work on data.")
    seconds: Float = Field(description="Estimate.")


class Provenance(Frozen):
    """Who set a value: a line of the recipe, a default of the language, or a pass with its reason."""

    origin: Literal["recipe", "default", "pass"]
    where: str = Field(description="file:line:col of the recipe, or the name of the pass.")
    reason: str


class RunPlan(Frozen):
    """A frozen plan. Produced by `compiler.pipeline.compile_plan`, executed by `runtime`."""

    format_version: str
    name: Name
    fingerprint: str = Field(description="sha256 over all that gives the run its meaning; see schemas/fingerprint.py.")
    resume_key: str = Field(description="sha256 over what must be equal for a checkpoint to be continued.")
    seed: Integer
    run: Name | None = Field(description="Its name in the recipe's `sequence`; null where there is one run alone.")
    start: StartPlan | None = Field(description="Trained weights to begin with; null: random ones.")
    objective: ObjectivePlan
    model: Annotated[ModelPlan | ResNetPlan, Field(discriminator="family")]
    tokenizer: TokenizerPlan | None = Field(description="null: the samples are no text.")
    budget: BudgetPlan | PlainBudget
    data: DataPlan
    training: TrainingPlan
    precision: PrecisionPlan
    parallelism: ParallelismPlan
    algorithms: tuple[AnyAlgorithm, ...]
    evaluation: EvaluationPlan
    checkpoints: CheckpointsPlan
    hardware: HardwarePlan
    logging: LoggingPlan
    execution: ExecutionPlan
    estimate: Estimate
    techniques: tuple[TechniqueCost, ...] = Field(description="What each technique adds to the run.")
    shipped: ShippedPlan | None = Field(description="What leaves the run, where techniques make it smaller.")
    steps: tuple[Step, ...]
    provenance: dict[str, Provenance]
    earlier: tuple[RunPlan, ...] = Field(description="The runs of the sequence before this one, each without its own.")
    totals: SequenceTotals | None = Field(
        description="What all runs take together, in the last one's plan; null where there is no sequence."
    )

    @property
    def decoder(self) -> ModelPlan:
        """The model of a language model's plan."""
        if not isinstance(self.model, ModelPlan):
            raise TypeError(f"a {self.model.family} is no language model")
        return self.model

    @property
    def text_tokenizer(self) -> TokenizerPlan:
        """The tokenizer of a language model's plan."""
        if self.tokenizer is None:
            raise TypeError("images have no tokenizer")
        return self.tokenizer

    @property
    def law_budget(self) -> BudgetPlan:
        """The budget of a language model's plan, with what the scaling law says."""
        if not isinstance(self.budget, BudgetPlan):
            raise TypeError("no scaling law holds for this model")
        return self.budget

    @property
    def is_law_silent(self) -> bool:
        """Whether the scaling law says nothing of this run: of classifiers, of trained weights, far outside of its data."""
        return not isinstance(self.budget, BudgetPlan) or self.budget.promise is None

    @property
    def promise(self) -> Promise:
        """What the scaling law says of a run of which it says something."""
        promise = self.law_budget.promise
        if promise is None:
            raise TypeError("the scaling law says nothing of this run")
        return promise

    @property
    def resnet(self) -> ResNetPlan:
        """The model of an image classifier's plan."""
        if not isinstance(self.model, ResNetPlan):
            raise TypeError(f"a {self.model.family} is no residual network")
        return self.model

    @property
    def is_classifier(self) -> bool:
        """Whether images are classified; else it is a language model."""
        return self.objective.kind == "classification"

    @property
    def counted(self) -> Counted:
        """What `tokens` of this plan are, for people."""
        return IMAGES if self.is_classifier else TOKENS

    @property
    def runs(self) -> tuple[RunPlan, ...]:
        """All runs in the order in which they happen, this one last."""
        return (*self.earlier, self)

    @property
    def short_fingerprint(self) -> str:
        """The eight digits that folders carry."""
        return self.fingerprint[:8]

    @model_validator(mode="after")
    def _adds_up(self) -> RunPlan:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> list[str]:
        """Invariants that span sections; an empty list says that the plan holds together."""
        data, training = self.data, self.training
        found = []
        tokens = training.steps * training.global_batch_tokens
        if training.global_batch_tokens != training.global_batch_samples * data.sequence_length:
            found.append("a global batch is not a whole number of sequences")
        if self.budget.tokens != tokens:
            found.append(f"the budget is {self.budget.tokens} tokens, the steps train on {tokens}")
        edges = [0, *(phase.end_token for phase in data.phases)]
        if edges[-1] != tokens or any(p.start_token != e for p, e in zip(data.phases, edges, strict=False)):
            found.append("the phases do not cover the run from its first token to its last")
        for phase in data.phases:
            drawn = sum(share.tokens for share in phase.sources.values())
            if drawn != phase.end_token - phase.start_token:
                found.append(f"phase {phase.id} spans {phase.end_token - phase.start_token} tokens and draws {drawn}")
            if any(share.tokens != share.samples * data.sequence_length for share in phase.sources.values()):
                found.append(f"phase {phase.id} draws a part of a sample")
            if not set(phase.sources) <= set(data.sources):
                found.append(f"phase {phase.id} draws from a source that the plan does not have")
        ids = [step.id for step in self.steps]
        for i, step in enumerate(self.steps):
            if not set(step.inputs) <= set(ids[:i]):
                found.append(f"step {step.id} reads a step that does not come before it")
        if len(set(ids)) != len(ids):
            found.append("two steps have one id")
        return [*found, *self._kind_problems()]

    def _kind_problems(self) -> list[str]:
        """Whether objective, model, data and tokenizer are of one kind, and the vocabulary is the model's."""
        kinds = isinstance(self.model, ResNetPlan), self.tokenizer is None, self.data.image is not None
        if any(kind != self.is_classifier for kind in kinds):
            return ["objective, model, tokenizer and data are not of one kind"]
        if self.tokenizer is not None and self.tokenizer.vocab_size > self.decoder.vocab_size:
            return ["the tokenizer has more tokens than the model has rows"]
        return []
