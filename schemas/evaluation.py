"""What a recipe says of measuring, saving and logging a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Fraction, Frozen, Integer, Name, Text
from schemas.units import Bytes, Time, Tokens, TrainingTime

__all__ = ["Checkpoints", "Evaluation", "Logging", "MLflow", "TensorBoard", "WandB"]


class Evaluation(Frozen):
    """Held-out text per source, and samples of generated text."""

    holdout: Fraction = Field(0.01, lt=0.9, description="Share of each source's documents that is never trained on.")
    interval: TrainingTime = Field(Time(0.25, "dur"), description="How often held-out loss is measured while training.")
    max_tokens: Tokens = Field(1_000_000, gt=0, description="Most held-out tokens read per source.")
    prompts: tuple[Text, ...] = Field((), max_length=32, description="Texts that the finished model continues.")
    max_new_tokens: Integer = Field(64, ge=1, le=4096, description="Tokens generated per prompt.")


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
