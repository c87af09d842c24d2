"""The two faces of a technique: knobs in the recipe, a fully decided algorithm in the plan."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen, Integer

__all__ = ["Algorithm", "Technique", "Window"]


class Window(Frozen):
    """Half-open span of training, in tokens: [start_token, end_token)."""

    start_token: Integer = Field(ge=0, description="First token at which the algorithm is active.")
    end_token: Integer = Field(ge=0, description="First token at which it is no longer active.")


class Technique(Frozen):
    """Base of what a recipe says of one training method; subclasses set `kind`."""


class Algorithm(Frozen):
    """Base of a technique as the runtime executes it: no choice left, all times in tokens; subclasses set `kind`."""

    window: Window = Field(description="When it is active.")
