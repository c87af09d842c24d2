"""Low-rank factors of trained weights: W is replaced by the two factors of its truncated SVD, which are trained on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Fraction, Integer, Text
from schemas.techniques.base import Algorithm, Technique
from schemas.techniques.pruning import PruningAlgorithm

__all__ = ["LowRank", "LowRankAlgorithm"]


class LowRank(Technique):
    """Knobs of factorisation; exactly one of rank, energy and parameters says how much is kept."""

    kind: Literal["low_rank"] = Field(description="low_rank")
    rank: Integer | None = Field(None, ge=1, le=1 << 17, description="Rank of each factorised layer.", examples=[64])
    energy: Fraction | None = Field(
        None, gt=0, lt=1, description="Share of each layer's squared singular values to keep.", examples=[0.9]
    )
    parameters: Fraction | None = Field(
        None, gt=0, lt=1, description="Share of each layer's parameters that its factors have.", examples=[0.5]
    )
    targets: Literal["all", "attention", "mlp"] = Field("all", description="Linear layers that are factorised.")

    @model_validator(mode="after")
    def _one_measure(self) -> LowRank:
        given = [name for name in ("rank", "energy", "parameters") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "conflict",
                "how much is kept is said by exactly one of `rank`, `energy` and `parameters`",
                {"first": given[0], "key": given[1], "fix": ""} if given else {"key": "kind", "fix": "parameters: 0.5"},
            )
        return self


class LowRankAlgorithm(Algorithm):
    """Lowered factorisation, done once before the first step; layers that would not become smaller stay whole.

    `hold`: the run begins with a model that has its factors already, and keeps them.
    """

    kind: Literal["low_rank"] = "low_rank"
    rank: Integer | None
    energy: Fraction | None
    parameters: Fraction | None
    targets: tuple[Text, ...] = Field(description="Names of layers inside a block, such as q_proj.")
    hold: bool
    removes: tuple[PruningAlgorithm, ...] = Field(
        description="What emptied channels and heads in the runs before: they are taken out first, and factors have fewer sides."
    )
