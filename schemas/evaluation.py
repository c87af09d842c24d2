"""What a recipe says of measuring, saving and logging a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text, short_for
from schemas.units import Bytes, Time, Tokens, TrainingTime

__all__ = [
    "Bias",
    "BiasClasses",
    "BiasConvention",
    "BiasPlan",
    "Checkpoints",
    "Evaluation",
    "Logging",
    "MLflow",
    "TensorBoard",
    "WandB",
    "ZeroRate",
]

BiasConvention = Literal["paper", "repo"]
BiasClasses = Literal["labels", "token_frequency", "sources"]
ZeroRate = Literal["error", "skip", "epsilon"]


class Bias(Frozen):
    """What a technique did to each class, against a reference. `bias: previous` is short for `{against: previous}`."""

    against: Text | None = Field(
        None,
        description="The reference: `start` (the weights that the run begins with), `uncompressed` (the trained model before it"
        " is made small), `previous` or the name of an earlier run of `sequence`, or a folder (with a `/` in it): a Hugging Face"
        " one, or a classifier's export."
        " Default: the start, else the previous run, else the uncompressed model.",
        examples=["previous"],
    )
    classes: Literal["auto", "labels", "token_frequency", "sources"] = Field(
        "auto",
        description="labels of a classifier; of a language model, tokens by how often they occur in the training data, or by the"
        " source that they are typical of. auto: labels, or token_frequency.",
    )
    buckets: Integer = Field(
        10, ge=2, le=1000, description="token_frequency: classes of about equally many occurrences each."
    )
    convention: BiasConvention = Field(
        "paper",
        description="Normalisation: of the papers, or of their authors' notebook (CEV 5000 times, SDE 70.7 times as large).",
    )
    zero_rate: ZeroRate = Field(
        "skip",
        description="A class without errors in the reference has no relative change: leave it out, divide by epsilon, or fail.",
    )
    epsilon: Float = Field(1e-12, gt=0, lt=1, description="Divisor of `zero_rate: epsilon`.")
    replicates: tuple[Name, ...] = Field(
        (),
        max_length=32,
        description="Earlier runs that differ from this one by their seed alone: rates are averaged, and a sample counts as"
        " changed where all of them changed it.",
    )
    max_cev: Float | None = Field(
        None, ge=0, description="Gate: a larger CEV fails the run before the export.", examples=[0.5]
    )
    max_sde: Float | None = Field(
        None, ge=0, description="Gate: a larger SDE fails the run before the export.", examples=[0.2]
    )


class Evaluation(Frozen):
    """Held-out text per source, and samples of generated text."""

    holdout: Fraction = Field(
        0.01, lt=0.9, description="Share of each source's documents that is never trained on; of images by default 0.1."
    )
    interval: TrainingTime = Field(Time(0.25, "dur"), description="How often held-out loss is measured while training.")
    max_tokens: Tokens = Field(1_000_000, gt=0, description="Most held-out tokens read per source.")
    prompts: tuple[Text, ...] = Field((), max_length=32, description="Texts that the finished model continues.")
    max_new_tokens: Integer = Field(64, ge=1, le=4096, description="Tokens generated per prompt.")
    retention: tuple[Name, ...] = Field(
        (),
        description="Sources of which the report says how much the training forgot; they may be without weight in the mixture.",
        examples=[["base"]],
    )
    bias: Annotated[Bias, short_for("against")] | None = Field(
        None,
        description="Measure CEV, SDE and changed samples of the finished model against a reference: `bias: previous`.",
    )


class BiasPlan(Frozen):
    """Which models are compared over which classes, and how far they may be apart."""

    against: Literal["start", "uncompressed", "run", "folder"]
    run: Name | None = Field(description="The earlier run that is the reference.")
    folder: Text | None
    replicates: dict[Name, Text] = Field(description="Earlier runs and their fingerprints.")
    fingerprint: Text | None = Field(description="Of the earlier run, so that another one is another comparison.")
    classes: BiasClasses
    buckets: Integer
    convention: BiasConvention
    zero_rate: ZeroRate
    epsilon: Float
    max_cev: Float | None
    max_sde: Float | None


class Checkpoints(Frozen):
    """What is saved, how often, and how much of it is kept."""

    interval: TrainingTime | None = Field(
        None,
        description="How often the run is saved; always also at its end. Default: a tenth of the run, less often where saving"
        " takes long, more often where machines fail (Young 1974).",
        examples=["0.1dur", "1000ba"],
    )
    keep: Integer = Field(2, ge=1, le=10_000, description="Newest checkpoints kept; older ones are deleted.")
    export: bool = Field(True, strict=True, description="Write the finished model as a Hugging Face folder.")
    export_dtype: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="Number format of the exported weights.")
    max_shard: Bytes = Field(5_000_000_000, ge=1_000_000, description="Largest file of exported weights.")


class TensorBoard(Frozen):
    """TensorBoard event files in the run's folder."""


class MLflow(Frozen):
    """MLflow; credentials come from MLflow's own environment variables."""

    experiment: Text = Field("recipec", description="Experiment that the run is filed under.")
    tracking_uri: Text | None = Field(None, description="Server or database; default: sqlite in the run's folder.")

    @model_validator(mode="after")
    def _no_password(self) -> MLflow:
        head, at, host = (self.tracking_uri or "").partition("@")
        scheme, slashes, user = head.partition("://")
        if at and slashes and ":" in user and "/" not in user:
            raise PydanticCustomError(
                "conflict",
                "a password would be kept in every job folder; MLFLOW_TRACKING_PASSWORD holds it for one shell",
                {"key": "tracking_uri", "fix": f"tracking_uri: {scheme}://{host}"},
            )
        return self


class WandB(Frozen):
    """Weights & Biases; the key comes from WANDB_API_KEY, never from a recipe."""

    project: Name = Field("recipec", description="Project that the run is filed under.")
    entity: Name | None = Field(None, description="Team or user.")
    mode: Literal["online", "offline"] = Field("offline", description="offline writes files for `wandb sync`.")


class Logging(Frozen):
    """Where metrics go. The destinations change neither the result nor the fingerprint."""

    interval: TrainingTime = Field(Time(1, "ba"), description="How often metrics are written.")
    console: bool = Field(True, strict=True, description="A progress bar on a terminal, a line now and then in a log.")
    jsonl: bool = Field(True, strict=True, description="metrics.jsonl in the run's folder.")
    tensorboard: TensorBoard | None = Field(None, description="Also to TensorBoard: `tensorboard: {}`.")
    mlflow: MLflow | None = Field(None, description="Also to MLflow: `mlflow: {}`.")
    wandb: WandB | None = Field(None, description="Also to Weights & Biases: `wandb: {project: mine}`.")
