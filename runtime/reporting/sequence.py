"""The end of a sequence: sequence_report.json, report.html and the table on the screen, made from all runs' folders."""

from __future__ import annotations

from runtime.bias.picture import PICTURE
from runtime.files import write_bytes, write_json
from runtime.layout import Layout
from runtime.lineage import plans
from runtime.reporting.stage_page import page
from runtime.reporting.stage_plots import draw_course, draw_forms
from runtime.reporting.stage_table import as_text
from runtime.reporting.stages import build_stages, is_worth_telling
from schemas.plan import RunPlan

__all__ = ["conclude"]


def conclude(plan: RunPlan, layout: Layout, width: int) -> str:
    """Write the report of a plan's runs into the last one's folder; returns its table, or nothing if there is nothing to tell.

    Args:
        plan: the last run, with those before it.
        layout: its folders.
        width: columns of the table, 80 or more.

    Raises:
        RunFailed: the disk is full or can't be written (RC604).
    """
    report = build_stages(plan, layout)
    if not is_worth_telling(report):
        return ""
    write_json(layout.sequence_report, report.model_dump(mode="json"))
    drawn = {"Loss over all runs": draw_course(plan, layout), "Held-out loss of each model": draw_forms(report)}
    pictures = {title: data for title, data in drawn.items() if data is not None}
    for run in plans(plan):
        picture = Layout.of(run, roots=layout.roots, runs=layout.runs).run / PICTURE
        if picture.is_file():
            pictures[f"{run.run or run.name}: changes of each class"] = picture.read_bytes()
    write_bytes(layout.page, page(report, pictures).encode())
    return f"{as_text(report, width)}\n  page  {layout.page}"
