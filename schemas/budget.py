"""What a recipe says of its budget: how much training, for what quality, by which law, within what limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text, short_for
from schemas.units import Count, Flops, GpuHourPrice, Seconds, Tokens, Usd

__all__ = [
    "TARGETS",
    "Budget",
    "BudgetObjective",
    "Constraints",
    "Inference",
    "Law",
    "MatchModel",
    "ScalingLawName",
    "ServingFormat",
]

ScalingLawName = Literal[
    "besiroglu", "sardana", "hoffmann_tex", "hoffmann_printed", "sardana_own", "sardana_own_100"
]  # fmt: skip
ServingFormat = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4"]
BudgetObjective = Literal["flops", "dollars"]
TARGETS = (
    "tokens",
    "tokens_per_parameter",
    "flops",
    "target_loss",
    "match_chinchilla",
    "match_model",
    "cost",
    "gpu_time",
    "time",
    "lifetime_cost",
)
_CONSTANTS = ("e", "a", "b", "alpha", "beta")


def _clash(message: str, first: str, key: str, fix: str = "") -> PydanticCustomError:
    """Two keys that don't go together; a `fix` that writes `key` anew is about its value."""
    return PydanticCustomError("conflict", message, {"first": first, "key": key, "fix": fix})


class Inference(Frozen):
    """Demand over the model's life, which moves the optimum to smaller models trained for longer, and what serves it."""

    tokens: Tokens | None = Field(
        None,
        le=10**20,
        description="All tokens, read and written, over the model's life; split as input_tokens to output_tokens.",
    )
    requests: Count | None = Field(None, le=10**15, description="Requests over the model's life.")
    input_tokens: Count = Field(70, le=10**7, description="Tokens read per request (LMSYS-Chat average).")
    output_tokens: Count = Field(215, le=10**7, description="Tokens written per request (LMSYS-Chat average).")
    gpu: Name | None = Field(
        None,
        description="Device of the catalogue that serves; default: the one that trains.",
        examples=["h100-sxm-80gb"],
    )
    precision: ServingFormat | None = Field(
        None,
        description="Format it is served in, at unchanged quality; default: fp8 where the device has it, else bf16.",
    )
    price: GpuHourPrice | None = Field(None, ge=0, description="Your price of serving; default: the catalogue's.")
    mfu_prefill: Fraction = Field(0.5, gt=0, description="Share of the peak while a request is read.")
    mfu_decode: Fraction = Field(0.01, gt=0, description="Share of the peak while an answer is written.")

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
        if self.tokens and self.input_tokens + self.output_tokens == 0:
            raise _clash("requests of no tokens can't split the demand", "", "output_tokens", "output_tokens: 215")
        return self

    @property
    def total_tokens(self) -> int:
        """Input and output tokens over the model's life."""
        return (
            self.tokens if self.tokens is not None else (self.requests or 0) * (self.input_tokens + self.output_tokens)
        )

    @property
    def split_tokens(self) -> tuple[float, float]:
        """Tokens read and tokens written over the model's life."""
        each = self.input_tokens + self.output_tokens
        share = self.input_tokens / each if each else 0.0
        return self.total_tokens * share, self.total_tokens * (1 - share)


class Law(Frozen):
    """L(N, D) = E + A/N^alpha + B/D^beta: a published fit, constants of your own, or a fit to your own runs.

    `scaling_law: sardana` is short for `{name: sardana}`.
    """

    name: ScalingLawName | None = Field(
        None, description="Published fit; default: besiroglu. Losses of different fits can't be compared."
    )
    e: Float | None = Field(None, ge=0, le=100, description="Irreducible loss, nats per token.", examples=[1.69])
    a: Float | None = Field(None, gt=0, le=1e9, description="Factor of the model's term.", examples=[406.4])
    b: Float | None = Field(None, gt=0, le=1e9, description="Factor of the data's term.", examples=[410.7])
    alpha: Float | None = Field(None, ge=0.02, le=1.5, description="Exponent of the model's size.", examples=[0.34])
    beta: Float | None = Field(None, ge=0.02, le=1.5, description="Exponent of the tokens.", examples=[0.28])
    fit: Text | None = Field(
        None,
        description="CSV of your runs with columns parameters, tokens and loss, relative to the recipe.",
        examples=["runs.csv"],
    )
    max_tokens_per_parameter: Float | None = Field(
        None, gt=0, description="With `fit`: leave out runs of more tokens per parameter.", examples=[100]
    )

    @model_validator(mode="after")
    def _one_law(self) -> Law:
        given = [key for key in _CONSTANTS if getattr(self, key) is not None]
        ways = [key for key in ("name", "fit") if getattr(self, key) is not None] + given[:1]
        if len(ways) > 1:
            raise _clash(f"`{ways[0]}` and `{ways[1]}` each give the law", ways[0], ways[1])
        missing = [key for key in _CONSTANTS if getattr(self, key) is None]
        if given and missing:
            field = Law.model_fields[missing[0]]
            raise _clash(
                f"the law lacks {', '.join(f'`{key}`' for key in missing)}",
                "",
                "",
                f"{missing[0]}: {(field.examples or ['0.3'])[0]}",
            )
        if self.max_tokens_per_parameter is not None and self.fit is None:
            raise _clash("`max_tokens_per_parameter` chooses among runs, and `fit` names none", "", "", "fit: runs.csv")
        return self


class MatchModel(Frozen):
    """A model and its tokens, whose quality is to be reached."""

    parameters: Count = Field(gt=0, le=10**14, description="Its size.", examples=["7B"])
    tokens: Tokens = Field(gt=0, le=10**17, description="Tokens that it was trained on.", examples=["1T tok"])


class Constraints(Frozen):
    """Bounds of the choice; the plan says which one binds."""

    min_parameters: Count | None = Field(None, gt=0, le=10**14, description="Smallest model that will do.")
    max_parameters: Count | None = Field(
        None, gt=0, le=10**14, description="Largest model that can be served, by its memory for example."
    )
    unique_tokens: Tokens | None = Field(
        None,
        gt=0,
        le=10**17,
        description="Tokens that there are; default: the sum of the sources' `tokens`, which prices repetition only.",
    )
    max_epochs: Float | None = Field(
        None, ge=1, le=1e6, description="Times that unique_tokens may be read; default 4.", examples=[4]
    )
    max_tokens_per_parameter: Float | None = Field(
        None, gt=0, le=1e6, description="Longest training of a model.", examples=[200]
    )

    @model_validator(mode="after")
    def _some_model_is_left(self) -> Constraints:
        low, high = self.min_parameters, self.max_parameters
        if low is not None and high is not None and low > high:
            raise _clash(
                f"no model has at least {low} and at most {high} parameters",
                "",
                "max_parameters",
                f"max_parameters: {low}",
            )
        if self.max_epochs is not None and self.unique_tokens is None:
            raise _clash(
                "`max_epochs` counts passes over `unique_tokens`, which is missing", "", "", "unique_tokens: 100B tok"
            )
        return self


class Budget(Frozen):
    """One target and any limits. With `model.size: auto` the target also chooses the model.

    Without a target, `max_cost` and `max_hours` are spent.
    """

    tokens: Tokens | None = Field(None, gt=0, le=10**17, description="Train on this many tokens.")
    tokens_per_parameter: Float | None = Field(
        None, gt=0, le=1e6, description="Train on this many tokens per parameter.", examples=[20]
    )
    flops: Flops | None = Field(None, gt=0, le=1e29, description="Spend this much on training (6 N D).")
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
    match_model: MatchModel | None = Field(None, description="Reach the quality of a model of this size and training.")
    cost: Usd | None = Field(None, gt=0, le=1e12, description="Spend this much money on training.", examples=["$60k"])
    gpu_time: Seconds | None = Field(
        None,
        gt=0,
        le=1e12,
        description="Spend this much device time on training: wall-clock x devices.",
        examples=["40d"],
    )
    time: Seconds | None = Field(
        None, gt=0, le=1e10, description="Be done after this long, on all devices of `hardware`.", examples=["48h"]
    )
    lifetime_cost: Usd | None = Field(
        None, gt=0, le=1e15, description="Spend this much money on training and inference together.", examples=["$5M"]
    )
    objective: BudgetObjective | None = Field(
        None,
        description="What a lifetime costs: FLOPs, or dollars of training and of serving; default: flops,"
        " dollars with lifetime_cost.",
    )
    inference: Inference | None = Field(None, description="Demand over the model's life.")
    scaling_law: Annotated[Law, short_for("name")] = Field(
        Law(), description="Constants of L(N, D) = E + A/N^alpha + B/D^beta."
    )
    constraints: Constraints = Field(Constraints(), description="Bounds of the choice of model and tokens.")
    max_cost: Usd | None = Field(None, gt=0, description="Most that training may cost.")
    max_hours: Seconds | None = Field(
        None, gt=0, description="Longest that training may take, with its unit.", examples=["36h"]
    )
    max_gpus: Integer | None = Field(None, ge=1, le=1_000_000, description="Most devices that the run may use.")

    @model_validator(mode="after")
    def _one_target(self) -> Budget:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise PydanticCustomError(
                "conflict",
                "the budget has one target; `{first}` and `{key}` both are",
                {"first": given[0], "key": given[1], "fix": ""},
            )
        if self.lifetime_cost is not None and self.objective == "flops":
            raise _clash("`lifetime_cost` is money: its objective is dollars", "", "objective", "objective: dollars")
        return self

    @property
    def target(self) -> str | None:
        """The target's key, or None."""
        return next((name for name in TARGETS if getattr(self, name) is not None), None)
