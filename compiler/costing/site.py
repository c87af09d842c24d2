"""The calibration of a user's own cluster that a recipe names."""

from __future__ import annotations

from typing import Final

from compiler.draft import Draft
from compiler.estimate.speed.site import Site, read_site

__all__ = ["known_site"]

_LARGEST_BYTES: Final = 1_000_000


def known_site(draft: Draft) -> tuple[Draft, Site | None]:
    """The cluster's factors, with a finding if the file can't be used; None where the recipe names none."""
    name = draft.recipe.hardware.calibration
    if name is None:
        return draft, None
    path = next((root / name for root in draft.roots if (root / name).is_file()), None)
    try:
        if path is None:
            raise ValueError(f"it is not in {' or '.join(dict.fromkeys(str(root) for root in draft.roots))}")
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError("it is larger than any calibration")
        return draft, read_site(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return draft.find(
            draft.diagnostic(
                "RC505",
                f"the calibration `{name}` can't be used: {reason}",
                "hardware",
                "calibration",
                help="calibration: cluster.json   # written by `recipec calibrate runs.csv --out cluster.json`",
            )
        ), None
