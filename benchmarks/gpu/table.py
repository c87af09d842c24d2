"""The table: measured beside planned, a row a check, and what became of those that have no numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["HEADER", "error", "line", "table"]

_GB: Final = 1e9
_COLUMNS: Final = (
    ("check", 24), ("compute", 8), ("tokens/s", 10), ("planned", 10), ("error", 8), ("MFU", 7), ("planned", 8), ("peak GB", 8),
    ("planned", 8), ("error", 8), ("held GB", 8), ("loss", 16),
)  # fmt: skip
HEADER: Final = "".join(
    f"{name:<{width}}" if not at else f"{name:>{width}}" for at, (name, width) in enumerate(_COLUMNS)
)
"""`error` is of the plan: planned / measured - 1. Peak is of tensors, held of the allocator."""


def error(planned: float, measured: float) -> float:
    """By what share the plan is above what was measured."""
    return planned / measured - 1


def line(name: str, found: Mapping[str, Any]) -> str:
    """One row; a check that failed says how."""
    if found["status"] != "ok":
        return f"{name:<24}{found['status']}: {found.get('reason', '')}".rstrip()
    loss = f"{found['initial_loss']:.3f} -> {found['loss']:.3f}"
    cells = [f"{name:<24}", f"{found['compute']:>8}", *_speed(found), *_memory(found), f"{loss:>16}"]
    return "".join(cells) + _more(found)


def _speed(found: Mapping[str, Any]) -> list[str]:
    planned, rate = found["planned"], found.get("tokens_per_s")
    if rate is None:
        return [f"{'':>43}"]
    return [
        f"{rate:>10,.0f}{planned['tokens_per_s']:>10,.0f}{error(planned['tokens_per_s'], rate):>+8.0%}",
        f"{found['mfu']:>7.1%}{planned['mfu']:>8.1%}",
    ]


def _memory(found: Mapping[str, Any]) -> list[str]:
    planned, peak = found["planned"]["peak_memory_bytes"], found.get("allocated_bytes")
    if peak is None:
        return [f"{'':>32}"]
    held = found["reserved_bytes"] / _GB
    return [f"{peak / _GB:>8.1f}{planned / _GB:>8.1f}{error(planned, peak):>+8.0%}{held:>8.1f}"]


def _more(found: Mapping[str, Any]) -> str:
    """What a resumption and an export show beside."""
    if "same_bits" in found:
        same = "the same bits" if found["same_bits"] else f"weights differ by {found['largest_difference']:.1e} at most"
        return f"  killed after step {found['killed_after_step']}: {same}"
    if "rounded_layers" in found:
        apart, files = found["largest_difference"], found["largest_difference_of_files"]
        return (f"  {found['rounded_layers']} rounded layers; logits (up to {found['largest_logit']:.2f}) are {apart:.1e} from "
                f"the CPU's at most, of the files {files:.1e}")  # fmt: skip
    return ""


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """All rows, and the median error of those that have numbers."""
    lines: list[str] = [HEADER, *(line(name, found) for name, found in results.items())]
    speeds = _errors((found["planned"]["tokens_per_s"], found.get("tokens_per_s")) for found in _good(results))
    memories = _errors(
        (found["planned"]["peak_memory_bytes"], found.get("allocated_bytes")) for found in _good(results)
    )
    for what, errors in (("tokens/s", speeds), ("peak memory", memories)):
        if errors:
            middle = sorted(errors)[len(errors) // 2]
            lines.append(f"median size of the plan's error in {what}: {middle:.1%} over {len(errors)} checks")
    return "\n".join(lines)


def _good(results: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [found for found in results.values() if found["status"] == "ok"]


def _errors(pairs: Iterable[tuple[float, float | None]]) -> list[float]:
    return [abs(error(planned, measured)) for planned, measured in pairs if measured]
