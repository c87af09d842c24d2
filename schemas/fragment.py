"""What the lowering of a technique contributes to a plan. A technique never edits the draft; it states, and is merged."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Float, Fraction, Frozen, Integer
from schemas.techniques import AnyAlgorithm

__all__ = ["Claim", "Fragment", "Requirement"]


class Claim(Frozen):
    """A slot of the run that the technique writes; exclusive unless both sides share it."""

    slot: str
    shared: bool = False


class Requirement(Frozen):
    """A fact that must hold for the technique to work; `holds` is evaluated by the lowering."""

    holds: bool
    key: str = Field(description="Key of the technique that the finding points at.")
    message: str
    help: str
    other: str = Field("", description="Kind of the technique that it doesn't go with; its line is shown, too.")


class Fragment(Frozen):
    """Claims, lowered algorithms, requirements, and what it costs beside the plain run."""

    claims: tuple[Claim, ...]
    algorithms: tuple[AnyAlgorithm, ...] = ()
    requires: tuple[Requirement, ...] = ()
    lints: tuple[Requirement, ...] = Field((), description="Advice: what doesn't hold of it is a warning.")
    flops_per_token: Float = Field(
        0.0, description="Added model FLOPs per token, averaged over the run; may be negative."
    )
    whole_weights: bool = Field(False, description="Each device must hold whole weights and gradients: no sharding.")
    memory_parameters: Integer = Field(0, description="Added fp32 weights on each device.")
    trainable_parameters: Integer | None = Field(
        None, description="Weights with gradients and optimizer states, where these are not all (adapters)."
    )
    frozen_bytes: Float | None = Field(None, description="Bytes of one frozen weight, where it isn't kept in fp32.")
    shipped_parameters: Integer | None = Field(
        None, description="Weights of the finished model, where these are fewer than are trained (removal, factors)."
    )
    shipped_nonzero: Fraction | None = Field(None, description="Share of the finished model's weights that isn't zero.")
    shipped_bits: Float | None = Field(
        None, description="Bits of one weight of the finished model, scales included, averaged over the model."
    )
    once_flops_per_token: Float = Field(
        0.0, description="Model FLOPs on each train token of the sources once, before training (steps `logits`)."
    )
    once_bytes_per_token: Float = Field(0.0, description="Bytes on disk that this leaves of each of these tokens.")
    reason: str = Field(description="What was decided, for the provenance of its algorithms.")

    @property
    def ships_smaller(self) -> bool:
        """Whether the finished model is changed before it is exported; then a step `compress` does it."""
        said = (self.shipped_parameters, self.shipped_nonzero, self.shipped_bits)
        return any(value is not None for value in said)
