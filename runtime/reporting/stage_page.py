"""report.html: what each run of a sequence did to the model, as one page that stands alone."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping

from runtime.reporting.markup import Markup, document, element
from runtime.reporting.stage_table import NONE, Row, rows
from runtime.reporting.stages import SequenceReport
from runtime.reporting.style import STYLE
from schemas.counted import COUNTED
from schemas.units import format_bytes, format_count, format_seconds, format_usd

__all__ = ["page"]


def page(report: SequenceReport, pictures: Mapping[str, bytes]) -> str:
    """The page as HTML.

    Args:
        report: all runs.
        pictures: title -> SVG; they stand beside each other, in order.
    """
    count = len(report.stages)
    what = f"{count} runs, one after the other" if count > 1 else "one run"
    header = element(
        "header",
        element("h1", report.name),
        element("p", "Plan ", element("code", report.fingerprint[:8]), f": {what}; what came of it.", class_="id"),
    )
    table = element(
        "section",
        element("h2", "What each run did"),
        element(
            "p",
            _lead(report),
            class_="lead",
        ),
        element("div", _table(report), class_="scroll"),
    )
    folders = element("p", f"In the folders {', '.join(stage.folder for stage in report.stages)}.")
    body = element(
        "div",
        header,
        element("main", _tiles(report), table, *_pictures(pictures)),
        element("footer", folders, element("p", "Fingerprint ", element("code", report.fingerprint))),
        class_="page",
    )
    return document(f"{report.name}: report {report.fingerprint[:8]}", STYLE, body)


def _lead(report: SequenceReport) -> str:
    """What the words of the table mean, of those that are in it."""
    said = f"Loss is the mean over held-out {COUNTED[report.counts].held_out}, in nats."
    if any(stage.bytes.after is not None for stage in report.stages):
        said = (
            "Trained: the finished model. Shipped: the form in which it is exported, with what its techniques remove or round. "
            f"{said} Speed at inference is that of the machine that ran this."
        )
    if any(stage.bias is not None for stage in report.stages):
        said += " CEV and SDE say how unevenly the change fell on single classes."
    if any(stage.forgotten_nats is not None for stage in report.stages):
        said += " Forgotten is what the loss rose by on text that came before; below 0 it fell."
    return said


def _tiles(report: SequenceReport) -> Markup:
    """The numbers that one looks for first: of the model that is shipped, and of all runs together."""
    tiles = [
        (
            f"training {report.counts}",
            format_count(report.tokens),
            f"{len(report.stages)} runs" if len(report.stages) > 1 else "",
        ),
        ("time", format_seconds(report.seconds), "devices held"),
        ("cost", format_usd(report.usd), "at the plan's price"),
        *_model_tiles(report),
    ]
    return element(
        "dl",
        *(
            element(
                "div",
                element("dt", label),
                element("dd", value, class_="value"),
                *([element("dd", note, class_="note")] if note else []),
            )
            for label, value, note in tiles
        ),
        class_="tiles",
    )


def _model_tiles(report: SequenceReport) -> list[tuple[str, str, str]]:
    """Loss, size, speed and bias of the model that leaves the last run, each with what it was before."""
    found, stages, last = [], report.stages, report.stages[-1]
    loss = last.mean("shipped") or last.mean("trained")
    if loss is not None:
        first = next((value for stage in stages if (value := stage.mean("trained")) is not None), loss)
        found.append(("held-out loss", f"{loss:.3f}", f"{stages[0].run}: {first:.3f}" if len(stages) > 1 else ""))
    if last.bytes.after is not None:
        before = "" if last.bytes.before is None else f"from {format_bytes(last.bytes.before)}"
        found.append(("size", format_bytes(last.bytes.after), before))
    if last.tokens_per_s.after is not None:
        before = "" if last.tokens_per_s.before is None else f"from {format_count(last.tokens_per_s.before)}"
        found.append((f"{report.counts}/s, inference", format_count(last.tokens_per_s.after), before))
    if last.bias is not None and last.bias.cev is not None:
        sde = "" if last.bias.sde is None else f"SDE {last.bias.sde:.3g}; "
        found.append(("CEV", f"{last.bias.cev:.3g}", f"{sde}0 is no bias"))
    return found


def _table(report: SequenceReport) -> Markup:
    """A column a run, rows in groups."""
    head = element(
        "thead",
        element(
            "tr", element("th", ""), *(element("th", stage.run, class_="n", scope="col") for stage in report.stages)
        ),
    )
    lines: list[Markup] = []
    for group, members in itertools.groupby(rows(report), key=lambda row: row.group):
        heading = element("th", _arrow(group), class_="group", colspan=str(len(report.stages) + 1), scope="colgroup")
        lines += [element("tr", heading), *map(_line, members)]
    return element("table", head, element("tbody", *lines))


def _line(row: Row) -> Markup:
    indent = {"class_": "indent"} if row.label.startswith(" ") else {}
    cells = (
        element("td", "\N{EN DASH}", class_="n none") if cell == NONE else element("td", _arrow(cell), class_="n")
        for cell in row.cells
    )
    return element("tr", element("th", row.label.strip(), scope="row", **indent), *cells)


def _arrow(cell: str) -> str:
    return cell.replace(" > ", " \N{RIGHTWARDS ARROW} ")


def _pictures(pictures: Mapping[str, bytes]) -> list[Markup]:
    """Pictures as data, so that what they hold can neither act on the page nor take its style."""
    shown = [
        element(
            "div",
            element("h3", title),
            element(
                "img", src=f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}", alt=title, class_="picture"
            ),
        )
        for title, data in pictures.items()
    ]
    return [element("section", element("div", *shown, class_="two"))] if shown else []
