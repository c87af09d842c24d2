"""Real text for the tests of scores: documents that every Python brings along."""

from __future__ import annotations

import functools

from runtime.data.builtin import docs

__all__ = ["paragraphs"]


@functools.cache
def paragraphs(count: int = 60, fewest_words: int = 60) -> tuple[str, ...]:
    """Documents of CPython's own documentation with so many words at least, every fifth of them."""
    found = [text for _, text in docs() if text is not None and fewest_words <= len(text.split()) <= 2000]
    chosen = tuple(found[::5][:count])
    assert len(chosen) == count
    return chosen
