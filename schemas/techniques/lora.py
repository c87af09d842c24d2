"""Low-rank adapters beside frozen weights (Hu et al. 2021, arXiv 2106.09685), over 4-bit weights too (arXiv 2305.14314)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Float, Fraction, Integer, Text
from schemas.techniques.base import Algorithm, Technique

__all__ = ["Lora", "LoraAlgorithm"]


class Lora(Technique):
    """Knobs of adapters."""

    kind: Literal["lora"] = Field("lora", description="lora")
    rank: Integer = Field(16, ge=1, le=4096, description="Rank of the update of each weight matrix.")
    alpha: Float | None = Field(
        None, gt=0, le=1e5, description="The update is scaled by alpha / rank; default: twice the rank.", examples=[32]
    )
    dropout: Fraction = Field(0.05, lt=1, description="Dropout before the adapters.")
    targets: Literal["all", "attention", "mlp"] | Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        "all", description="Linear layers that get adapters: a group of the family's, or names of layers."
    )
    rank_stabilized: bool = Field(
        False, strict=True, description="Scale by alpha / sqrt(rank) instead (rsLoRA, arXiv 2312.03732)."
    )
    base: Literal["full", "nf4"] = Field(
        "full", description="Format of the frozen weights; nf4: 4 bits, which is QLoRA (needs bitsandbytes)."
    )


class LoraAlgorithm(Algorithm):
    """Lowered adapters: h = W0 x + (alpha / rank) B A x on each target, W0 frozen."""

    kind: Literal["lora"] = "lora"
    rank: Integer
    alpha: Float
    dropout: Fraction
    targets: tuple[Text, ...] = Field(description="Names of layers inside a block, such as q_proj.")
    rank_stabilized: bool
    base: Literal["full", "nf4"]
