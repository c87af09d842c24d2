"""mixture.svg: share of each source over time, planned and drawn, a row each; from the plan and metrics.jsonl."""

from __future__ import annotations

import importlib.util
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.books import mix_ends
from runtime.files import write_bytes
from runtime.reporting.plots import COLOURS, lines_of
from schemas.counted import Counted
from schemas.plan import PhasePlan, RunPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Drawn", "draw_mixture", "drawn_shares", "planned_shares"]

_PLANNED, _DRAWN = COLOURS[:2]

_DOTS: Final = 60
"""Dots of a row at most: each is the mean over a sixtieth of the run, which quiets the noise of whole samples."""

_ROWS: Final = 16
"""Sources at most; those with fewer tokens are left out, and counted in the title."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn in the span [start, end) of training tokens: share of each source, and tokens of it up to the end."""

    start: int
    end: int
    shares: dict[str, float]
    tokens: dict[str, int]


def planned_shares(phases: Sequence[PhasePlan], source: str) -> tuple[tuple[int, float], ...]:
    """(token, share from there on) at the start of each phase, and once more at the end of the run."""
    found = []
    for phase in phases:
        tokens = phase.sources[source].tokens if source in phase.sources else 0
        found.append((phase.start_token, tokens / (phase.end_token - phase.start_token)))
    return (*found, (phases[-1].end_token, found[-1][1]))


def drawn_shares(plan: RunPlan, metrics: Path) -> tuple[Drawn, ...]:
    """Shares between the records of a metrics file, over spans that end where a mix does and are a sixtieth of the run or more.

    A file that begins in the middle, as one of a run that another run's checkpoint was given to, tells of its part alone.
    """
    counts = [(0, dict.fromkeys(plan.data.sources, 0)), *_counts(plan, metrics)]
    least, ends = plan.budget.tokens / _DOTS, mix_ends(plan.data.phases)
    first_due = min(plan.logging.interval_steps * plan.training.global_batch_tokens, ends[0])
    if len(counts) > 2 and counts[1][0] > first_due:
        counts = counts[1:]
    cuts = [0]
    for i, (tokens, _) in enumerate(counts[1:], start=1):
        since = tokens - counts[cuts[-1]][0]
        if since < least and tokens not in ends and i < len(counts) - 1:
            continue
        # What is left before an end, a batch or two, would be a dot of noise: it goes to the span before.
        if since < least / 2 and len(cuts) > 1 and counts[cuts[-1]][0] not in ends:
            cuts.pop()
        cuts.append(i)
    return tuple(_span(counts[start], counts[end]) for start, end in itertools.pairwise(cuts))


def _span(start: tuple[int, dict[str, int]], end: tuple[int, dict[str, int]]) -> Drawn:
    """Shares between two counts of tokens."""
    total = end[0] - start[0]
    return Drawn(start[0], end[0], {name: (n - start[1][name]) / total for name, n in end[1].items()}, end[1])


def _counts(plan: RunPlan, metrics: Path) -> Iterator[tuple[int, dict[str, int]]]:
    """(tokens, tokens of each source so far) of each record that counts sources; one that a later plan added had none."""
    for line in lines_of(metrics):
        row = {name: value for name, value in line.items() if name.startswith("tokens/") and isinstance(value, int)}
        tokens = line.get("tokens")
        if isinstance(tokens, int) and row:
            yield tokens, {name: row.get(f"tokens/{name}", 0) for name in plan.data.sources}


def draw_mixture(plan: RunPlan, metrics: Path, target: Path) -> bool:
    """Write the picture as SVG, whole or not at all; False if nothing was drawn yet, or there is no matplotlib."""
    drawn = drawn_shares(plan, metrics)
    if not drawn or importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl  # half a second, for the end of a run
    from matplotlib.figure import Figure

    planned = {name: _tokens(plan.data.phases, name) for name in plan.data.sources}
    names = sorted(sorted(planned, key=lambda name: -planned[name])[:_ROWS])
    figure = Figure(figsize=(9, 1.3 + 0.85 * len(names)), dpi=150, layout="constrained")
    rows: list[Axes] = list(figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0])
    for axes, name in zip(rows, names, strict=True):
        _draw_row(axes, plan, name, drawn)
        note = _note(drawn[-1].tokens[name], planned[name], plan.counted)
        axes.annotate(note, (1.01, 0.5), xycoords="axes fraction", va="center", fontsize=7.5, color="0.35")
    _label(rows, plan, len(planned) - len(names))
    image = io.BytesIO()
    # The salt makes the ids in the file those of the plan: the same run gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": plan.fingerprint}):
        figure.savefig(image, format="svg", metadata={"Date": None, "Creator": None, "Title": _title(plan)})
    write_bytes(target, image.getvalue())
    return True


def _tokens(phases: Sequence[PhasePlan], source: str) -> int:
    return sum(phase.sources[source].tokens for phase in phases if source in phase.sources)


def _note(drawn: int, planned: int, counted: Counted) -> str:
    if drawn == planned:
        return f"{counted.number(drawn)}\nas planned"
    return f"{counted.number(drawn)} of\n{planned:,} planned"


def _title(plan: RunPlan) -> str:
    return f"{plan.name} {plan.short_fingerprint}: share of each source"


def _draw_row(axes: Axes, plan: RunPlan, name: str, drawn: Sequence[Drawn]) -> None:
    tokens, shares = zip(*planned_shares(plan.data.phases, name), strict=True)
    dots = [((span.start + span.end) / 2, span.shares[name]) for span in drawn]
    axes.fill_between(tokens, shares, step="post", color=_PLANNED, alpha=0.18, linewidth=0)
    axes.step(tokens, shares, where="post", color=_PLANNED, linewidth=1.2, label="planned")
    x, y = zip(*dots, strict=True)
    axes.plot(x, y, color=_DRAWN, marker="o", markersize=2.6, linestyle="none", label="drawn", clip_on=False)
    most, top = max(shares), max(*shares, *y)
    axes.set_ylim(0, 1.15 * top or 1)
    axes.set_yticks([0, most] if most else [0], labels=["0", f"{100 * most:.3g} %"][: 2 if most else 1], fontsize=7.5)
    axes.set_ylabel(
        name if len(name) <= 18 else f"{name[:17]}\N{HORIZONTAL ELLIPSIS}", rotation=0, ha="right", va="center"
    )
    for end in mix_ends(plan.data.phases)[:-1]:
        axes.axvline(end, color="0.75", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _label(rows: Sequence[Axes], plan: RunPlan, left_out: int) -> None:
    from matplotlib.ticker import EngFormatter

    more = f" (and {left_out} smaller ones)" if left_out else ""
    rows[0].set_title(_title(plan) + more, loc="left", fontsize=10)
    rows[0].legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
    rows[-1].set_xlabel(f"training {plan.counted.many}")
    rows[-1].set_xlim(0, plan.budget.tokens)
    rows[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
