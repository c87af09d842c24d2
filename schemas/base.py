"""What every type of the language shares: frozen, closed to unknown keys, documented field by field."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

__all__ = ["Float", "Fraction", "Frozen", "Integer", "Name", "Text", "short_for"]


class Frozen(BaseModel):
    """Base of recipe, plan and diagnostics: values never change, and a key that nobody reads is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        # Validators are built when first used: a `recipec check` never pays for the plan's (20 ms).
        defer_build=True,
        validate_default=False,
        allow_inf_nan=False,
    )


def _integer(value: Any) -> int:
    """An integer as YAML writes it (`12`, `1_000`, also `1e6`); never a boolean, a string or 1.5."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise PydanticCustomError("integer", "a whole number is expected here")


def _number(value: Any) -> float:
    """A finite number; never a boolean or a string."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise PydanticCustomError("number", "a finite number is expected here")


def short_for(key: str) -> BeforeValidator:
    """Let a bare word stand for a mapping with one key: `precision: bf16` for `{compute: bf16}`."""

    def expand(value: Any) -> Any:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(expand)


_PERCENT: Final = r"\s*([0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]{1,2})?|\.[0-9]+)\s*%\s*"


def _fraction(value: Any) -> float:
    """A share between 0 and 1, as `0.25` or `25%`."""
    if isinstance(value, str) and (percent := re.fullmatch(_PERCENT, value)) is not None:
        value = float(percent[1]) / 100
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise PydanticCustomError("fraction", "a share between 0 and 1 is expected here, such as 0.25 or 25%")


Integer = Annotated[int, BeforeValidator(_integer)]
"""A whole number; a boolean, a string or 1.5 is refused."""

Float = Annotated[float, BeforeValidator(_number)]
"""A finite number; a boolean or a string is refused."""

Fraction = Annotated[
    float,
    BeforeValidator(_fraction),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": f"^{_PERCENT}$"},
            ],
            "examples": [0.25, "25%"],
        }
    ),
]
"""A share from 0 to 1; in a recipe also `25%`."""

# A name becomes a folder and a word in shell scripts and logs, so it is a plain path segment.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Letters, digits, `.`, `_` and `-`; at most 64; starts with a letter or a digit."""

Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
"""Free text without control characters."""
