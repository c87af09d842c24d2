"""Progress bars: on a terminal alone, and gone when they are done."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar, cast

__all__ = ["bar", "watched"]

Item = TypeVar("Item")


def bar(title: str, items: Iterable[Any] | None = None, *, total: int | None = None, unit: str = "it") -> Any:
    """A bar that is moved by hand (`update`), or by `items`; tqdm's.

    Args:
        title: what is done, such as `prepare web`.
        items: go by one at a time.
        total: how many there are, where `items` doesn't say it.
        unit: of what is counted, such as `B`; counted by hand, large numbers get prefixes.
    """
    # Imported here: most processes show none.
    from tqdm import tqdm

    quiet = not sys.stderr.isatty()
    return tqdm(items, title, total, leave=False, unit=unit, unit_scale=items is None, disable=quiet)


def watched(title: str, items: Iterable[Item], *, total: int | None = None, unit: str = "it") -> Iterable[Item]:
    """The items one by one, under a bar."""
    return cast("Iterable[Item]", bar(title, items, total=total, unit=unit))
