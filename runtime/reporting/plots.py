"""loss.png: training and held-out loss against tokens, or images, from metrics.jsonl."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.books import mix_ends, whole_name
from runtime.files import write_bytes
from schemas.plan import RunPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "Curves", "draw_loss", "lines_of", "read_curves", "smooth"]

# Okabe and Ito's palette: told apart by colour-blind readers, and in grey print.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_HELDOUT: Final = "heldout/"

Points = tuple[tuple[float, float], ...]
"""(tokens, nats per token), in the order of training."""


@dataclass(frozen=True)
class Curves:
    """What metrics.jsonl says of the loss."""

    train: Points
    heldout: dict[str, Points]


def read_curves(metrics: Path) -> Curves:
    """Losses in a metrics file; a line cut short by a kill, and lines without the number, are passed over."""
    train: list[tuple[float, float]] = []
    heldout: dict[str, list[tuple[float, float]]] = {}
    for line in lines_of(metrics):
        tokens = line.get("tokens")
        for name, value in line.items():
            if not isinstance(tokens, int | float) or not isinstance(value, int | float):
                continue
            if name == "loss":
                train.append((tokens, value))
            elif name.startswith(_HELDOUT) and name.endswith("/loss"):
                heldout.setdefault(name.removeprefix(_HELDOUT).removesuffix("/loss"), []).append((tokens, value))
    return Curves(tuple(train), {name: tuple(points) for name, points in sorted(heldout.items())})


def smooth(values: Sequence[float], reach: int) -> list[float]:
    """Mean of each value with its `reach` neighbours on both sides, of fewer at the ends: no lag behind the values."""
    sums = [0.0, *itertools.accumulate(values)]
    ends = ((max(i - reach, 0), min(i + reach + 1, len(values))) for i in range(len(values)))
    return [(sums[end] - sums[start]) / (end - start) for start, end in ends]


def draw_loss(plan: RunPlan, metrics: Path, target: Path) -> bool:
    """Write the loss curve as PNG, whole or not at all; False if there are no two points to join, or no matplotlib."""
    curves = read_curves(metrics)
    if len(curves.train) < 2 or importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure  # half a second, for the end of a run

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _draw_curves(axes, curves)
    ends = mix_ends(plan.data.phases)
    for phase in (phase for phase in plan.data.phases if phase.start_token in ends):
        axes.axvline(phase.start_token, color="0.75", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        axes.annotate(
            whole_name(phase), (phase.start_token, 1), xycoords=("data", "axes fraction"), xytext=(3, -10),
            textcoords="offset points", fontsize=7, color="0.5",
        )  # fmt: skip
    _label(axes, plan)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    write_bytes(target, image.getvalue())
    return True


def _draw_curves(axes: Axes, curves: Curves) -> None:
    tokens, losses = zip(*curves.train, strict=True)
    # The mean spans about a fiftieth of the curve: quiet enough to read, quick enough to show a jump.
    reach = len(losses) // 100
    axes.plot(tokens, losses, color=COLOURS[0], alpha=0.25, linewidth=0.8, label="training batch")
    if reach > 0:
        axes.plot(tokens, smooth(losses, reach), color=COLOURS[0], linewidth=1.6, label="training, smoothed")
    for i, (name, points) in enumerate(curves.heldout.items()):
        colour = COLOURS[1 + i % (len(COLOURS) - 1)]
        tokens, losses = zip(*points, strict=True)
        axes.plot(tokens, losses, color=colour, marker="o", markersize=4, linewidth=1, label=f"held-out {name}")


def _label(axes: Axes, plan: RunPlan) -> None:
    from matplotlib.ticker import EngFormatter

    axes.set_title(f"{plan.name} {plan.short_fingerprint}", loc="left", fontsize=11)
    axes.set_xlabel(f"training {plan.counted.many}")
    axes.set_ylabel(f"loss, {plan.counted.loss}")
    axes.set_xlim(0, 1.01 * plan.budget.tokens)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def lines_of(metrics: Path) -> Iterator[dict[str, object]]:
    """The records of a metrics file; a line cut short by a kill is passed over."""
    if not metrics.is_file():
        return
    with metrics.open("rb") as handle:
        for raw in handle:
            try:
                line = json.loads(raw)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line
