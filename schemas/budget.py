"""What a recipe says of its budget: how much training, for what quality, within what limits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Float, Frozen
from schemas.units import Count, Flops, Seconds, Tokens, Usd

__all__ = ["TARGETS", "Budget", "Inference", "ScalingLawName"]

ScalingLawName = Literal["sardana", "hoffmann", "besiroglu"]
TARGETS = ("tokens", "tokens_per_parameter", "flops", "target_loss", "match_chinchilla")


class Inference(Frozen):
    """Demand over the model's life, which moves the optimum to smaller models trained for longer."""

    tokens: Tokens | None = Field(None, le=10**20, description="All tokens, read and written, over the model's life.")
    requests: Count | None = Field(None, le=10**15, description="Requests over the model's life.")
    input_tokens: Count = Field(70, le=10**7, description="Tokens read per request (LMSYS-Chat average).")
    output_tokens: Count = Field(215, le=10**7, description="Tokens written per request (LMSYS-Chat average).")

    @model_validator(mode="after")
    def _one_demand(self) -> Inference:
        if (self.tokens is None) == (self.requests is None):
            raise PydanticCustomError(
                "conflict",
                "the demand is either `tokens` or `requests`",
                {"first": "tokens", "key": "requests", "fix": ""}
                if self.tokens is not None
                else {"first": "", "key": "", "fix": "requests: 1B"},
            )
        return self

    @property
    def total_tokens(self) -> int:
        """Input and output tokens over the model's life."""
        return (
            self.tokens if self.tokens is not None else (self.requests or 0) * (self.input_tokens + self.output_tokens)
        )


class Budget(Frozen):
    """One target and any limits. With `model.size: auto` the target also chooses the model."""

    tokens: Tokens | None = Field(None, gt=0, le=10**17, description="Train on this many tokens.")
    tokens_per_parameter: Float | None = Field(
        None, gt=0, le=1e6, description="Train on this many tokens per parameter.", examples=[20]
    )
    flops: Flops | None = Field(None, gt=0, le=1e30, description="Spend this much on training (6 N D).")
    target_loss: Float | None = Field(
        None, gt=0, le=100, description="Reach this loss (nats per token) by the scaling law.", examples=[2.5]
    )
    match_chinchilla: Count | None = Field(
        None,
        gt=0,
        le=10**14,
        description="Reach the quality of a Chinchilla-optimal model of this size.",
        examples=["7B"],
    )
    inference: Inference | None = Field(None, description="Demand over the model's life.")
    scaling_law: ScalingLawName = Field("besiroglu", description="Constants of L(N, D) = E + A/N^alpha + B/D^beta.")
    max_cost: Usd | None = Field(None, gt=0, description="Most that training may cost.")
    max_hours: Seconds | None = Field(
        None, gt=0, description="Longest that training may take, with its unit.", examples=["36h"]
    )

    @model_validator(mode="after")
    def _one_target(self) -> Budget:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise PydanticCustomError(
                "conflict",
                "the budget has one target; `{first}` and `{key}` both are",
                {"first": given[0], "key": given[1], "fix": ""},
            )
        return self
