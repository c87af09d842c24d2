"""What repeated tokens are worth, in fresh ones."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["REPETITION", "drawn_tokens", "effective_tokens"]

REPETITION: Final = 15.387756
"""R*: passes after which repeated tokens have lost 1 - 1/e of their worth (Muennighoff et al. 2023, arXiv 2305.16264, app. A)."""


def effective_tokens(tokens: float, unique_tokens: float) -> float:
    """Fresh tokens that D tokens drawn from U unique ones are worth: D' = U + U R* (1 - exp(-(D/U - 1)/R*)), D' = D up to U.

    Muennighoff et al. 2023, section 3.1; their decay of excess parameters is left out, since it needs their constants of the
    law.
    """
    if tokens <= unique_tokens:
        return tokens
    return unique_tokens * (1 - REPETITION * math.expm1(-(tokens / unique_tokens - 1) / REPETITION))


def drawn_tokens(worth: float, unique_tokens: float) -> float:
    """D for a wanted D'; infinite where no number of passes is worth as much."""
    if worth <= unique_tokens:
        return worth
    left = 1 - (worth / unique_tokens - 1) / REPETITION
    return unique_tokens * (1 - REPETITION * math.log(left)) if left > 0 else math.inf
