"""Every row of a table of runs with the speed, the memory and the fit that its inputs lead to expect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from compiler.estimate.memory.peak import fits, peak
from compiler.estimate.rows.table import Row, Unjudged, workload_of
from compiler.estimate.speed.predict import speed
from compiler.estimate.speed.site import Site
from compiler.estimate.workload import Workload

__all__ = ["PREDICTED", "judge", "prediction"]

PREDICTED: Final = (
    "pred_tokens_per_s_per_gpu",
    "pred_tokens_per_s_per_gpu_low",
    "pred_tokens_per_s_per_gpu_high",
    "pred_mfu",
    "pred_peak_mem_gb",
    "pred_peak_mem_gb_low",
    "pred_peak_mem_gb_high",
    "pred_fits",
    "pred_note",
)
"""Columns that are added; GB are 10^9 bytes, `pred_note` says why a row is not judged."""


def judge(rows: Iterable[Row], site: Site | None = None) -> Iterator[dict[str, str]]:
    """The rows with the columns of `PREDICTED` added; a row that cannot be judged has only a note."""
    for row in rows:
        workload = workload_of(row)
        found = {"pred_note": workload.reason} if isinstance(workload, Unjudged) else prediction(workload, site)
        yield dict(row.cells) | {name: found.get(name, "") for name in PREDICTED}


def prediction(w: Workload, site: Site | None = None) -> dict[str, str]:
    """The added cells of one workload."""
    try:
        fast, full = speed(w, site=site), peak(w)
        return {
            "pred_tokens_per_s_per_gpu": f"{fast.tokens_per_s_per_gpu:.6g}",
            "pred_tokens_per_s_per_gpu_low": f"{fast.low:.6g}",
            "pred_tokens_per_s_per_gpu_high": f"{fast.high:.6g}",
            "pred_mfu": f"{fast.mfu:.5g}",
            "pred_peak_mem_gb": f"{full.peak_bytes / 1e9:.5g}",
            "pred_peak_mem_gb_low": f"{full.low_bytes / 1e9:.5g}",
            "pred_peak_mem_gb_high": f"{full.high_bytes / 1e9:.5g}",
            "pred_fits": "true" if fits(w) else "false",
        }
    except ArithmeticError:  # numbers that each pass for possible, but not together
        return {"pred_note": "the numbers are out of every range together"}
