"""Pictures of a sequence: loss over all of its runs, and what each run's model weighs and loses."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from runtime.layout import Layout
from runtime.lineage import plans
from runtime.reporting.plots import COLOURS, read_curves, smooth
from runtime.reporting.stages import Form, SequenceReport, Stage
from schemas.counted import COUNTED
from schemas.plan import RunPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_course", "draw_forms"]

_FORMS: Final[tuple[tuple[Form, str, str], ...]] = (
    ("start", "at the start", "0.75"),
    ("trained", "trained", COLOURS[0]),
    ("shipped", "shipped", COLOURS[1]),
)


def draw_course(plan: RunPlan, layout: Layout) -> bytes | None:
    """Training loss over the tokens of all runs, one after the other, as SVG; None without two points, or matplotlib.

    Where a teacher has a part in the loss it is the sum that is minimised: a step between two runs may be one of terms.
    """
    pieces, offset = [], 0
    for run in plans(plan):
        place = Layout.of(run, roots=layout.roots, runs=layout.runs)
        points = read_curves(place.metrics).train
        if len(points) > 1:
            pieces.append((run.run or run.name, offset, points))
        offset += run.budget.tokens
    if not pieces or importlib.util.find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure  # half a second, for the end of a run
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, start, points) in enumerate(pieces):
        colour = COLOURS[number % len(COLOURS)]
        tokens, losses = zip(*points, strict=True)
        x = [start + token for token in tokens]
        axes.plot(x, losses, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(x, smooth(losses, len(losses) // 100), color=colour, linewidth=1.6, label=name)
        axes.axvline(start, color="0.8", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_xlim(0, 1.01 * offset)
    axes.set_xlabel(f"training {plan.counted.many} of all runs")
    axes.set_ylabel(f"training loss, {plan.counted.loss}")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.legend(frameon=False, fontsize=8)
    return _svg(axes, figure, plan.fingerprint + "course")


def draw_forms(report: SequenceReport) -> bytes | None:
    """Held-out loss of each run's model as it began, as trained and as shipped, as SVG; None without one, or matplotlib."""
    stages = [stage for stage in report.stages if stage.mean("trained") is not None]
    if not stages or importlib.util.find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    _dots(axes, stages)
    axes.set_xticks(range(len(stages)), [_short(stage.run) for stage in stages], fontsize=9)
    axes.set_xlim(-0.5, len(stages) - 0.5)
    axes.set_ylabel(f"held-out loss, {COUNTED[report.counts].loss}")
    axes.legend(frameon=False, fontsize=8)
    return _svg(axes, figure, report.fingerprint + "forms")


def _dots(axes: Axes, stages: Sequence[Stage]) -> None:
    """The three forms of each run's model, a little apart; random weights, which would squeeze all others, are left out."""
    for shift, (form, label, colour) in zip((-0.27, 0.0, 0.27), _FORMS, strict=True):
        known = [
            (number + shift, loss)
            for number, stage in enumerate(stages)
            if (loss := stage.mean(form)) is not None and (form != "start" or stage.starts_from is not None)
        ]
        if not known:
            continue
        x, y = zip(*known, strict=True)
        axes.plot(x, y, color=colour, marker="o", markersize=6, linestyle="none", label=label)
        for place, value in known:
            axes.annotate(
                f"{value:.3f}", (place, value), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=7.5
            )
    axes.margins(y=0.2)


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}\N{HORIZONTAL ELLIPSIS}"


def _svg(axes: Axes, figure: object, salt: str) -> bytes:
    """The figure as SVG; the same numbers give the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    image = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        figure.savefig(image, format="svg", metadata={"Date": None, "Creator": None})
    return image.getvalue()
