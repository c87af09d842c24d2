"""What a compressed model saves where it is served: pure functions of plain numbers.

Prompts are read many tokens at a time, which is bound by FLOPs: 2 N a token, whatever the bits of a weight. Answers are written
token by token, each of which reads all weights, so their time goes with N times the bits of a weight (Pope et al. 2022, arXiv
2211.05102). A serving stack that computes in b bits reads wider weights in b bits, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from compiler.estimate.law.serving import Rates
from schemas.budget import ServingFormat

__all__ = ["FORMAT_BITS", "Form", "served_in_form", "written_share"]

FORMAT_BITS: Final[dict[str, float]] = {"fp4": 4.0, "int8": 8.0, "fp8": 8.0, "bf16": 16.0, "fp16": 16.0, "fp32": 32.0}
"""Bits of a weight in a number format."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is left of a model.

    Args:
        parameters: share of its parameters that is there; single zeros are.
        nonzero: share of those that isn't zero.
        bits: of one weight, scales included, averaged over the model.
    """

    parameters: float
    nonzero: float
    bits: float


def written_share(form: Form, serving: ServingFormat) -> float:
    """Bytes that a written token reads, of those of the uncompressed model in the format in which it is served."""
    return form.parameters * min(1.0, form.bits / FORMAT_BITS[serving])


def served_in_form(rates: Rates, form: Form, serving: ServingFormat) -> Rates:
    """The rates of a model whose compressed form is served; they are still asked for the uncompressed model's parameters."""
    return replace(
        rates,
        input_tokens=rates.input_tokens * form.parameters,
        output_tokens=rates.output_tokens * written_share(form, serving),
    )
