"""Words of a text as the lexical metrics count them: lower case, without digits, dashes and punctuation."""

from __future__ import annotations

import string
from typing import Final

__all__ = ["words_of"]

# Digits and dashes vanish (`utf-8` is `utf`, `e-mail` is `email`); other ASCII punctuation parts words (`don't` are two).
_MARKS: Final = str.maketrans(
    {**dict.fromkeys("0123456789-\N{EN DASH}\N{EM DASH}"), **dict.fromkeys(string.punctuation.replace("-", ""), " ")}
)


def words_of(text: str) -> list[str]:
    """The words of a text, in order; the rule of lexicalrichness 0.5.1, whose numbers can so be compared with ours."""
    return text.lower().translate(_MARKS).split()
