"""The plan: every decision made, frozen, fingerprinted. It is all that crosses from compiler to runtime.

No field means "decide later". Times are tokens or optimizer steps, sizes are exact integers, paths are as the recipe wrote
them (the runtime resolves them against its root). Whole-plan invariants are validators here, so that the runtime's door
checks them too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text
from schemas.curriculum import CurriculumPlan
from schemas.data import Selection, Source, Transition
from schemas.evaluation import BiasPlan, MLflow, TensorBoard, WandB
from schemas.forecast import (
    BudgetPlan,
    ChoicePlan,
    Estimate,
    HardwarePlan,
    LawPlan,
    PlainBudget,
    SequenceTotals,
    ServingPlan,
    ShippedPlan,
    TechniqueCost,
)
from schemas.techniques import AnyAlgorithm
from schemas.training import NormFormat, OptimizerKind, ParamFormat, PrecisionName, ScheduleKind

__all__ = [
    "FORMAT_VERSION",
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

FORMAT_VERSION = "1.3"
"""major.minor: a reader ignores a newer minor and refuses another major."""

StepKind = Literal["tokenizer", "prepare", "score", "logits", "train", "compress", "evaluate", "compare", "export"]


class ObjectivePlan(Frozen):
    """What is learnt."""

    kind: Literal["causal_lm", "classification"]
    z_loss: Float
    label_smoothing: Fraction


class ModelPlan(Frozen):
    """Exact dimensions of a language model. `num_parameters` counts shared matrices once, as the built model does."""

    family: Literal["llama", "gpt2"]
    num_parameters: Integer
    num_embedding_parameters: Integer
    vocab_size: Integer
    hidden_size: Integer
    num_layers: Integer
    num_heads: Integer
    num_kv_heads: Integer
    intermediate_size: Integer
    max_sequence_length: Integer
    tie_embeddings: bool
    dropout: Fraction
    rope_theta: Float
    norm_eps: Float
    init_std: Float
    attention: Literal["sdpa", "eager", "flash_attention_2"]
    compile: bool

    @property
    def macs_per_token(self) -> int:
        """Multiply-adds of the forward pass on one token, by the usual count: each parameter once (Kaplan et al. 2020)."""
        return self.num_parameters


class ResNetPlan(Frozen):
    """A residual network for images (He et al. 2016, arXiv 1512.03385), as torchvision builds it.

    `num_parameters` and `macs` equal the built model's. Weights have torchvision's names. Of normalisation the weights count,
    not the running means and variances.
    """

    family: Literal["resnet"]
    num_parameters: Integer
    macs: Integer = Field(description="Multiply-adds of one image's forward pass, of convolutions and the last layer.")
    depth: Integer
    block: Literal["basic", "bottleneck"]
    blocks: tuple[Integer, ...] = Field(description="Residual blocks of each stage.")
    width: Integer = Field(description="Channels of the first stage; each further one has twice as many.")
    stem: Literal["imagenet", "small"]
    norm: Literal["batch", "group"]
    num_classes: Integer
    channels: Integer
    image_size: Integer = Field(description="Height and width, pixels.")
    compile: bool

    @property
    def macs_per_token(self) -> int:
        """Multiply-adds of the forward pass on one sample; an image counts as one token."""
        return self.macs


class StartPlan(Frozen):
    """The trained weights that a run begins with."""

    kind: Literal["run", "folder", "hub"]
    run: Name | None = Field(description="Id of an earlier run of the same plan.")
    fingerprint: Text | None = Field(description="Of that run, so that another one is another start.")
    folder: Text | None
    hub: Text | None
    revision: Text | None


class TokenizerPlan(Frozen):
    """Where the tokenizer comes from; `vocab_size` counts its tokens, special ones included, before padding."""

    kind: Literal["bpe", "pretrained"]
    vocab_size: Integer
    max_bytes: Integer
    path: Text | None
    hub: Text | None
    revision: Text | None


class SourceShare(Frozen):
    """What one phase draws of one source."""

    samples: Integer
    tokens: Integer


class PhasePlan(Frozen):
    """A span of training with one rule of mixing; sample counts are exact and sum over sources to the span."""

    id: Name
    start_token: Integer
    end_token: Integer
    sources: dict[Name, SourceShare]
    transition: Transition = Field(
        "step", description="linear, cosine: one of the pieces, neighbours in the list, of which a transition is made."
    )

    @property
    def stretch(self) -> str:
        """The same for all pieces of a transition, and for no others: the id without the number of the piece."""
        return self.id if self.transition == "step" else self.id.rpartition(".")[0]


class ImagePlan(Frozen):
    """What a network is given of an image: [channels, size, size], (value / 255 - mean) / std of each channel."""

    size: Integer
    channels: Literal[1, 3]
    mean: tuple[Float, ...]
    std: tuple[Float, ...]


class DataPlan(Frozen):
    """Sources and exact draws. A sample is `sequence_length` tokens; an image is a sample of one."""

    sequence_length: Integer
    sources: dict[Name, Source]
    phases: tuple[PhasePlan, ...]
    shuffle_block: Integer
    curricula: dict[Name, CurriculumPlan] = Field(description="By source; the others are read in random order.")
    selection: Selection
    image: ImagePlan | None = Field(None, description="null: the samples are no images.")


class OptimizerPlan(Frozen):
    """The optimizer with every number."""

    kind: OptimizerKind
    lr: Float
    betas: tuple[Float, Float]
    eps: Float
    weight_decay: Float


class SchedulePlan(Frozen):
    """Multiplier of the learning rate: 0 to 1 over warmup_steps, then the shape to final_fraction at the last step."""

    kind: ScheduleKind
    warmup_steps: Integer
    cooldown_steps: Integer
    final_fraction: Fraction


class TrainingPlan(Frozen):
    """`steps` optimizer steps of `global_batch_samples` samples each; `microbatch` samples per device and forward pass."""

    steps: Integer
    global_batch_samples: Integer
    global_batch_tokens: Integer
    microbatch: Integer
    optimizer: OptimizerPlan
    schedule: SchedulePlan
    deterministic: bool


class LossScalePlan(Frozen):
    """Scaling of the loss in fp16; gradients are divided by it before they are clipped."""

    initial: Float
    growth_interval: Integer


class PrecisionPlan(Frozen):
    """Number formats of parameters, matrix products, gradient sums and norms."""

    param: ParamFormat
    compute: PrecisionName
    reduce: Literal["fp32", "bf16", "fp16"]
    norms: NormFormat = "full"
    loss_scale: LossScalePlan | None = Field(None, description="Only where matrix products are in fp16.")


class ParallelismPlan(Frozen):
    """How the model lies on the devices: one copy each (none, ddp), or sharded (fsdp); devices = shard_degree x replicas."""

    strategy: Literal["none", "ddp", "fsdp"]
    sharding: Literal["none", "gradients", "full"] = Field(
        description="What devices share: gradients and optimizer states, or weights too."
    )
    shard_degree: Integer = Field(description="Devices that share one copy; fewer than all is hybrid sharding.")
    replicas: Integer = Field(description="Copies of the model states.")
    devices: Integer
    nodes: Integer
    activation_checkpointing: bool


class EvaluationPlan(Frozen):
    """Held-out loss per source every `interval_steps`; prompts are continued by the finished model."""

    holdout: Fraction
    interval_steps: Integer
    max_tokens: Integer
    prompts: tuple[Text, ...]
    max_new_tokens: Integer
    retention: tuple[Name, ...] = Field((), description="Sources of which is measured what the training forgot.")
    bias: BiasPlan | None = None


class CheckpointsPlan(Frozen):
    """Saved every `interval_steps` and at the end; the newest `keep` stay."""

    interval_steps: Integer
    keep: Integer
    export: bool
    export_dtype: Literal["fp32", "bf16", "fp16"]
    max_shard_bytes: Integer


class LoggingPlan(Frozen):
    """Where metrics go."""

    interval_steps: Integer
    console: bool
    jsonl: bool
    tensorboard: TensorBoard | None
    mlflow: MLflow | None
    wandb: WandB | None


class SlurmPlan(Frozen):
    """Lines of the batch script for Slurm; those that are left out aren't written."""

    partition: Name | None = None
    account: Name | None = None
    qos: Name | None = None
    time: Float | None = Field(None, ge=0, description="Seconds.")


class ScoringPlan(Frozen):
    """Where documents are scored."""

    engine: Literal["local", "datatrove", "slurm"] = "local"
    tasks: Integer | None = Field(
        None, description="Processes or jobs; by default one a core of the machine that scores."
    )


class ExecutionPlan(Frozen):
    """Where and how the job runs; left out of the fingerprint."""

    workers: Integer
    cache: Text | None
    cache_limit: Integer | None = Field(description="Bytes on each machine for copies of remote shards.")
    threads: Integer | None
    offline: bool
    slurm: SlurmPlan
    scoring: ScoringPlan = ScoringPlan()


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
    run: Name | None = Field(
        None, description="Its name in the recipe's `sequence`; null where there is one run alone."
    )
    start: StartPlan | None = Field(None, description="Trained weights to begin with; null: random ones.")
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
    techniques: tuple[TechniqueCost, ...] = Field((), description="What each technique adds to the run.")
    shipped: ShippedPlan | None = Field(None, description="What leaves the run, where techniques make it smaller.")
    steps: tuple[Step, ...]
    provenance: dict[str, Provenance]
    earlier: tuple[RunPlan, ...] = Field(
        (), description="The runs of the sequence before this one, each without its own."
    )
    totals: SequenceTotals | None = Field(
        None, description="What all runs take together, in the last one's plan; null where there is no sequence."
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
