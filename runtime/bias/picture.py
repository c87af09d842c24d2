"""bias.svg: relative changes of both error rates, a point a class; the diagonal, on which SDE is 0, and the centroid."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.files import write_bytes
from runtime.reporting.plots import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PICTURE", "draw_bias"]

PICTURE: Final = "bias.svg"
"""Its name in the run's folder."""
_MOST_LABELS: Final = 24


def draw_bias(values: Mapping[str, Any], title: str, target: Path) -> bool:
    """Write the picture of a comparison, whole or not at all; False without a class to show, or without matplotlib.

    Args:
        values: of the step `compare`.
        title: names model and reference.
        target: an SVG file; the same values give the same bytes.
    """
    counted = [one for one in values["classes"] if one["fpr"]["change"] is not None]
    if not counted or importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl
    from matplotlib.figure import Figure  # half a second, for the end of a run

    with mpl.rc_context({"svg.hashsalt": "bias", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.5, 6), layout="constrained")
        _draw(figure.add_subplot(), counted, values, title)
        image = io.BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None, "Creator": None})
    write_bytes(target, image.getvalue())
    return True


def _draw(axes: Axes, counted: list[Any], values: Mapping[str, Any], title: str) -> None:
    x = [100 * one["fpr"]["change"] for one in counted]
    y = [100 * one["fnr"]["change"] for one in counted]
    low, high = min(*x, *y, 0.0), max(*x, *y, 0.0)
    room = 0.08 * (high - low) or 1.0
    span = (low - room, high + room)
    axes.plot(span, span, color="0.6", linewidth=1, linestyle=(0, (4, 3)), label="both rates change alike", zorder=1)
    axes.axhline(0, color="0.9", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.9", linewidth=0.8, zorder=0)
    largest = max(one["samples"] for one in counted) or 1
    sizes = [20 + 100 * one["samples"] / largest for one in counted]
    axes.scatter(
        x, y, s=sizes, color=COLOURS[0], alpha=0.75, linewidth=0, label="a class; area by its samples", zorder=2
    )
    centroid = (sum(x) / len(x), sum(y) / len(y))
    axes.scatter(*centroid, s=90, marker="+", color=COLOURS[1], linewidth=1.8, label="mean of the classes", zorder=3)
    _label(axes, counted, span)
    axes.set(xlim=span, ylim=span, aspect="equal")
    axes.set_xlabel("false-positive rate: change against the reference, %")
    axes.set_ylabel("false-negative rate: change against the reference, %")
    right = values["accuracy"]
    axes.set_title(
        f"{_plain(title)}\nCEV {values['cev']:.4g}, SDE {values['sde']:.4g} ({values['convention']}); "
        f"accuracy {right['reference']:.2%} -> {right['model']:.2%}",
        loc="left", fontsize=10,
    )  # fmt: skip
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="best")


def _label(axes: Axes, counted: list[Any], span: tuple[float, float]) -> None:
    """Names beside the points; classes that lie on one spot share a label, and none runs out of the picture."""
    step = (span[1] - span[0]) / 25
    spots: list[list[Any]] = []
    for one in counted:
        near = (those for those in spots if all(_apart(one, those[0], rate) < step for rate in ("fpr", "fnr")))
        spot = next(near, None)
        if spot is None:
            spots.append([one])
        else:
            spot.append(one)
    if len(spots) > _MOST_LABELS:
        return
    for those in spots:
        x, y = 100 * those[0]["fpr"]["change"], 100 * those[0]["fnr"]["change"]
        text = ", ".join(_plain(one["name"]) for one in those[:6]) + (
            f", {len(those) - 6} more" if len(those) > 6 else ""
        )
        left = x > span[0] + 0.7 * (span[1] - span[0])
        axes.annotate(
            text, (x, y), xytext=(-7 if left else 7, 6), textcoords="offset points", fontsize=7, color="0.35",
            ha="right" if left else "left",
        )  # fmt: skip


def _apart(one: Mapping[str, Any], other: Mapping[str, Any], rate: str) -> float:
    """Distance of two classes along an axis, per cent."""
    return float(abs(100 * (one[rate]["change"] - other[rate]["change"])))


def _plain(text: str) -> str:
    """Text that matplotlib takes as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")
