"""The report of a sequence: read from the folders of its runs, the same numbers in JSON, on the screen and on a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from runtime.files import write_json
from runtime.lineage import plans
from runtime.record import Record, write_record
from runtime.reporting import lineage_card
from runtime.reporting.markup import Markup, document, element
from runtime.reporting.model_card import model_card
from runtime.reporting.sequence import conclude
from runtime.reporting.stage_table import NONE, as_text, rows
from runtime.reporting.stages import SequenceReport, build_stages
from schemas.plan import RunPlan
from tests.runtime.sequence_case import layout_of, run_of, sequence

PRUNED = {"kind": "ema", "window": {"start_token": 0, "end_token": 2048}, "smoothing": 0.7, "update_interval_steps": 1}
STEPS = ("train", "compress", "evaluate", "compare")


def told(name: str, *, after: str | None = None, **changes: Any) -> dict[str, Any]:
    """A run with all steps that the report reads."""
    content = run_of(name, after=after, **changes)
    more: list[dict[str, Any]] = [
        {"id": kind, "kind": kind, "inputs": [], "source": None, "devices": 1, "seconds": 1.0} for kind in STEPS[1:]
    ]
    return {**content, "steps": [*content["steps"], *more]}


def finish(plan: RunPlan, folder: Path, number: int, *, small: bool = False) -> None:
    """What a finished run leaves: `number` makes its numbers its own."""
    layout = layout_of(plan, folder)
    layout.run.mkdir(parents=True)
    loss = {"untrained": 6.0 - number, "trained": 5.0 - number}
    values: dict[str, dict[str, Any]] = {
        "train": {
            "status": "finished",
            "steps": 4,
            "tokens": 2048,
            "seconds": 3.0,
            "tokens_per_s": 680.0,
            "world_size": 2,
        },
        "evaluate": {
            "sources": {
                "code": {**{form: {"loss": value} for form, value in loss.items()}, "tokens": 300, "bytes": 1},
                "prose": {**{form: {"loss": value + 1} for form, value in loss.items()}, "tokens": 100, "bytes": 1},
            },
            "samples": [],
        },
    }
    if small:
        values["evaluate"]["sources"]["code"]["shipped"] = {"loss": 3.125}
        values["compress"] = {
            "parameters": {"before": 26720, "after": 20000}, "nonzero": {"before": 26000, "after": 13000},
            "bytes": {"before": 106880, "after": 30000}, "tokens_per_s": {"before": 1000.0, "after": 1500.0},
            "techniques": {"quantization": {}},
        }  # fmt: skip
        values["compare"] = {
            "cev": 0.25, "sde": 0.125, "pie": 7, "convention": "paper", "accuracy": {"reference": 0.5, "model": 0.4375},
        }  # fmt: skip
    for kind, found in values.items():
        record = Record(kind=kind, key="0" * 64, inputs={}, seconds=1.0, reused=False, values=found)
        write_record(layout.step_result(kind), record)
    write_json(layout.report, {"spend": {"usd": {"actual": 1.5 * number}, "device_hours": {"actual": 0.01 * number}}})
    layout.metrics.write_text("".join(json.dumps({"tokens": 512 * i, "loss": 6.0 - i}) + "\n" for i in range(1, 5)))


@pytest.fixture
def done(tmp_path: Path) -> tuple[RunPlan, Path]:
    """Three runs, of which the last is shipped smaller; its name tries to be markup."""
    plan = sequence(told("first"), told("second", after="first", algorithms=[PRUNED]), told("third", after="second"))
    for number, run in enumerate(plans(plan), start=1):
        finish(run, tmp_path, number, small=number == 3)
    return plans(plan)[-1], tmp_path


def test_stages_are_read_from_the_runs_own_folders(done: tuple[RunPlan, Path]) -> None:
    """Each number from the file that the step wrote it to; the mean over sources is by tokens."""
    plan, folder = done
    report = build_stages(plan, layout_of(plan, folder))
    first, second, third = report.stages
    assert [stage.starts_from for stage in report.stages] == [None, "first", "second"]
    assert (second.techniques, second.steps, second.tokens) == (("ema",), 4, 2048)
    assert third.usd == 4.5
    assert third.seconds == pytest.approx(0.03 * 3600 / 2)
    assert first.mean("trained") == pytest.approx((300 * 4.0 + 100 * 5.0) / 400)
    assert (first.mean("shipped"), third.mean("shipped")) == (None, 3.125)
    assert (third.bytes.before, third.bytes.after, third.nonzero.after) == (106880, 30000, 13000)
    assert third.bias is not None
    assert (third.bias.cev, third.bias.accuracy) == (0.25, 0.4375)
    assert report.tokens == 3 * 2048
    assert report.usd == pytest.approx(1.5 + 3.0 + 4.5)


def test_the_table_has_all_runs_and_what_was_measured(done: tuple[RunPlan, Path]) -> None:
    """A column a run; what nobody measured has no row; at most 80 columns wide, runs that don't fit come below."""
    plan, folder = done
    report = build_stages(plan, layout_of(plan, folder))
    found = {row.label.strip(): row.cells for row in rows(report)}
    assert found["starts from"] == ("random weights", "first", "second")
    assert found["CEV"] == (NONE, NONE, "0.25")
    assert found["size"] == ("106.9 kB", "106.9 kB", "106.9 kB > 30 kB")
    assert found["loss, trained"][0] == "4.2500"
    assert "accuracy, trained" not in found
    text = as_text(report, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.splitlines()[0].split() == ["case-third", "first", "second", "third"]
    narrow = as_text(report.model_copy(update={"stages": report.stages * 2}), 80)
    assert narrow.count("starts from") == 2


class _Page(HTMLParser):
    """Tags in order, with what could load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(done: tuple[RunPlan, Path]) -> None:
    """Well-formed, no script, nothing fetched: pictures are data. The table is what the screen says too."""
    plan, folder = done
    layout = layout_of(plan, folder)
    said = conclude(plan, layout, 100)
    assert str(layout.page) in said
    text = layout.page.read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert "script" not in page.tags
    assert page.tags.count("img") == 2
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    for cell in ("4.2500", "0.125", "106.9 kB \N{RIGHTWARDS ARROW} 30 kB", "$9.00"):
        assert cell in text
    stored = SequenceReport.model_validate_json(layout.sequence_report.read_text())
    assert stored == build_stages(plan, layout)
    before = layout.page.read_bytes()
    conclude(plan, layout, 100)
    assert layout.page.read_bytes() == before


def test_one_plain_run_needs_no_page(tmp_path: Path) -> None:
    """Nothing is written for what the run's own report says; a run that was made smaller alone has one."""
    plain, small = sequence(told("plain")), sequence(told("small"))
    finish(plain, tmp_path, 1)
    finish(small, tmp_path, 1, small=True)
    assert conclude(plain, layout_of(plain, tmp_path), 80) == ""
    assert not layout_of(plain, tmp_path).page.exists()
    assert "106.9 kB > 30 kB" in conclude(small, layout_of(small, tmp_path), 80)


def test_text_is_never_markup() -> None:
    """Whatever a recipe calls its runs."""
    hostile = '<script>alert("x")</script>'
    shown = document(hostile, "", element("p", hostile, title=hostile), element("b", Markup("<i>1</i>")))
    assert "<script" not in shown
    assert "<b><i>1</i></b>" in shown
    assert shown.count("&lt;script&gt;") == 3
    assert re.search(r"default-src &#x27;none&#x27;|default-src 'none'", shown)


def test_the_card_says_where_a_model_comes_from(done: tuple[RunPlan, Path]) -> None:
    """The runs behind it with their plans, and no others; a model from random weights has no such section."""
    plan, _ = done
    small = {
        "parameters": {"before": 10.0, "after": 5.0},
        "bytes": {"before": 40, "after": 5},
        "techniques": {"low_rank": {}},
    }
    card = model_card(plan, trained={}, evaluation=None, small=small)
    assert f"trained from the weights of the run `second` (plan `{plan.earlier[1].fingerprint}`)" in card
    assert f"| second | `{plan.earlier[1].short_fingerprint}` | `first` | nobody | ema | 2.048k |" in card
    assert "By low rank:" in card
    assert "| parameters | 10 | 5 |" in card
    alone = plan.model_copy(update={"start": None})
    assert lineage_card.runs(alone) is None
    assert "Where it comes from" not in model_card(alone, trained={}, evaluation=None)
    from_first = plan.model_copy(update={"start": plan.earlier[1].start})
    found = lineage_card.runs(from_first)
    assert found is not None
    assert [row[0] for row in found[1]] == ["first", "third"]
