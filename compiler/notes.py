"""What passes hand on to later ones and the plan doesn't hold: targets of the budget, weights to begin with, the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from schemas.base import Frozen
from schemas.plan import ModelPlan, ResNetPlan, RunPlan, TokenizerPlan
from schemas.units import Time

if TYPE_CHECKING:  # these build on what is defined here
    from compiler.budgeting.aim import Aim
    from compiler.budgeting.law import Known
    from compiler.estimate.law.optimum import Market, Within
    from compiler.estimate.law.serving import Rates
    from schemas.plan import ServingPlan

__all__ = ["Batch", "Beginning", "Efforts", "Targets"]


class Efforts(NamedTuple):
    """FLOPs (6 N D) that the run gets done in a second of one device, all pauses included: of wall-clock, and of paid time."""

    held: float
    paid: float


@dataclass(frozen=True, slots=True)
class Targets:
    """What the budget asks for, before dimensions and batches make it whole. Not part of the plan.

    Args:
        parameters: N wanted, 0 where nothing says it.
        known: the scaling law and where it comes from.
        market: the law with the demand and the limits: solves for optima.
        aim: the target in the solver's terms; None where the budget names no scale.
        found: the continuous optimum, with the limit that moved it.
        serving: what serves the model; None without a demand.
        efforts: what this round took a device to get done.
        rates: dollars of training and serving, as this round knows them.
        follows_estimate: the choice rests on speed or price, so the passes run again with what the estimate found.
    """

    parameters: float
    known: Known
    market: Market
    aim: Aim | None
    found: Within | None
    serving: ServingPlan | None
    efforts: Efforts
    rates: Rates
    follows_estimate: bool


@dataclass(frozen=True, slots=True)
class Beginning:
    """Trained weights that a run starts from. Not part of the plan.

    Args:
        name: in words, such as "the run `pretrain`".
        model: its dimensions; None where they can't be seen from here, and the recipe says them.
        tokenizer: whose token ids the weights have learnt; None where that can't be seen.
        run: the earlier run, if it is one.
        classes: what a classifier's outputs stand for; empty where that can't be seen.
    """

    name: str
    model: ModelPlan | ResNetPlan | None
    tokenizer: TokenizerPlan | None
    run: RunPlan | None = None
    classes: tuple[str, ...] = ()


class Batch(Frozen):
    """One optimizer step, and how many of them. Not part of the plan."""

    samples: int
    tokens: int
    steps: int
    epoch_tokens: int | None

    @property
    def total_tokens(self) -> int:
        """Tokens of the whole run."""
        return self.steps * self.tokens

    def steps_of(self, time: Time) -> int:
        """A time of training in optimizer steps, rounded to the nearest.

        Raises:
            ValueError: the time is in epochs, and a source's number of tokens is not known.
        """
        match time.unit:
            case "ba":
                return round(time.value)
            case "tok":
                return round(time.value / self.tokens)
            case "sp":
                return round(time.value / self.samples)
            case "dur":
                return round(time.value * self.steps)
            case "ep" if self.epoch_tokens is not None:
                return round(time.value * self.epoch_tokens / self.tokens)
        raise ValueError(str(time))
