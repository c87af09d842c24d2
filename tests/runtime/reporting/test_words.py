"""Words for what a run counts: nothing that a person reads of a run on images speaks of tokens or perplexity."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runtime.callbacks.console import heldout
from runtime.record import Record
from runtime.reporting.data_report import data_report, differences
from runtime.reporting.lineage_card import compressed
from runtime.reporting.mixture_plot import draw_mixture
from runtime.reporting.report import build_report
from runtime.reporting.run_report import Environment, Report
from runtime.reporting.stage_page import page
from runtime.reporting.stage_plots import draw_course
from runtime.reporting.stage_table import as_text
from runtime.reporting.stages import BeforeAfter, BiasStage, HeldOut, SequenceReport, Stage
from runtime.reporting.summary import evaluation_table, table
from runtime.status import facts
from schemas.counted import IMAGES, TOKENS, Counts
from tests.runtime.images.case import layout_of, plan_of
from tests.runtime.plans import sealed_plan

TEXT_WORDS = re.compile(r"\btok(en)?s?\b|perplexit|bits per byte", re.IGNORECASE)
TRAINED: dict[str, Any] = {
    "status": "finished", "steps": 6, "tokens": 192, "seconds": 3.0, "tokens_per_s": 64.0, "mfu": 0.01, "loss": 0.5,
    "initial_loss": 2.3, "samples_per_source": {"digits": 192}, "tokens_per_source": {"digits": 192}, "world_size": 1,
}  # fmt: skip
EVALUATED: dict[str, Any] = {
    "sources": {
        "digits": {
            "untrained": {"loss": 2.3, "accuracy": 0.05}, "trained": {"loss": 0.5, "accuracy": 0.995}, "tokens": 3, "bytes": 192,
            "classes": ["0", "1"], "confusion": [[2, 0], [1, 0]],
        }
    },
    "samples": [],
}  # fmt: skip


def _record(kind: str, values: dict[str, Any]) -> Record:
    return Record(kind=kind, key="0" * 64, inputs={}, seconds=1.0, reused=False, values=values)


def _report() -> Report:
    prepared = {"source": "digits", "train": {"samples": 1596, "tokens": 1596}, "classes": ["0", "1"]}
    records = {
        "prepare-digits": _record("prepare", prepared),
        "train": _record("train", TRAINED),
        "evaluate": _record("evaluate", EVALUATED),
    }
    return build_report(plan_of(), records, Environment(python="3", packages={}, device="cpu", world_size=1))


def _stages(counts: Counts) -> SequenceReport:
    none, both = BeforeAfter(before=None, after=None), BeforeAfter(before=2000.0, after=1500.0)
    stage = Stage(
        run="small", fingerprint="f" * 64, folder="small-ffffffff", status="finished", starts_from="parent", teachers=(),
        techniques=("quantization",), steps=6, tokens=192, seconds=3.0, usd=0.0, training_tokens_per_s=64.0, parameters=both,
        nonzero=none, bytes=both, tokens_per_s=both, adapter_bytes=4096,
        sources={"a": HeldOut(samples=3, loss={"trained": 0.5, "shipped": 0.625}, accuracy={})}, forgotten_nats=0.0841,
        bias=BiasStage(against="parent", cev=0.25, sde=0.5, pie=7, convention="paper", reference_accuracy=0.5, accuracy=0.4),
    )  # fmt: skip
    return SequenceReport(
        name="two", fingerprint="f" * 64, counts=counts, stages=(stage,), tokens=192, seconds=3.0, usd=0.0
    )


def test_the_table_of_a_run() -> None:
    """Images, images a second, nats per image; and the part of the source that was read."""
    text = table(_report(), 80)

    assert not TEXT_WORDS.search(text)
    assert re.search(r"^images drawn$", text, re.MULTILINE)
    assert re.search(r"^  images/s +[\d,]+ +64$", text, re.MULTILINE)
    assert "loss, nats/image" in text
    assert "0.12 x 1.596k images" in text


def test_held_out_images_are_right_or_wrong() -> None:
    """Before and after of both numbers, each under its own head; the classes that are taken for others below."""
    evaluation = _report().evaluation
    assert evaluation is not None
    text = evaluation_table(evaluation, 80)

    assert not TEXT_WORDS.search(text)
    assert re.search(r"digits +3 +5% -> 99.5% +2.300 -> 0.500", text)
    assert re.search(r"class 1 +1 +0.0%", text)


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("train", TRAINED, "6 batches, 192 images, loss 0.5000, 64 images/s"),
        ("evaluate", EVALUATED, "digits 0.500 nats and 99.5% right"),
        (
            "compress",
            {"bytes": {"before": 2000, "after": 500}, "tokens_per_s": {"before": 10.0, "after": 20.0}},
            "2 kB > 500 B, 10 > 20 images/s",
        ),
        (
            "prepare",
            {"train": {"samples": 1}, "heldout": {"samples": 2}, "classes": ["a"], "skipped": {"broken": 1}},
            "1 image to train on, 2 held out, 1 class, 1 broken one left out",
        ),
    ],
)
def test_a_finished_step(kind: str, values: dict[str, Any], said: str) -> None:
    """Half a line, in images, with plurals of many alone."""
    assert facts(kind, values, IMAGES) == said


def test_steps_on_text_keep_their_words() -> None:
    """The same records of a language model."""
    values = {**TRAINED, "steps": 1}
    assert facts("train", values, TOKENS) == "1 batch, 192 tok, loss 0.5000, 64 tok/s"
    prepared = {"train": {"tokens": 2000}, "heldout": {"tokens": 10}, "skipped": {"short": 1}}
    assert facts("prepare", prepared) == "2k tok to train on, 10 tok held out, 1 document left out"


def test_what_is_measured_on_the_way() -> None:
    """Loss and accuracy of one source are told as one; other entries of the record aren't held-out."""
    record = {"loss": 1.0, "heldout/digits/loss": 0.0556, "heldout/digits/accuracy": 0.995, "heldout/a/b/loss": 2.0}
    assert heldout(record) == "digits 0.0556 and 99.50% right, a/b 2.0000"
    assert heldout({"loss": 1.0}) == ""


@pytest.mark.parametrize(("counts", "other"), [("images", "token"), ("tokens", "image")])
def test_the_report_of_a_sequence(counts: Counts, other: str) -> None:
    """Table and page in the words of what is counted, never in the other's."""
    report = _stages(counts)
    text, html = as_text(report, 80), page(report, {})

    assert f"{counts}/s, inference" in text
    assert f"{counts}/s in training" in text
    assert f"training {counts}" in html
    assert "SDE 0.5; 0 is no bias" in html
    assert "+0.0841" in text
    assert "4.096 kB" in text
    for said in (text, html):
        assert other not in said


def test_pictures(tmp_path: Path) -> None:
    """Axes and notes; letters of an SVG are shapes, with their text as a comment."""
    plan = plan_of()
    metrics = layout_of(plan, tmp_path).metrics
    metrics.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"tokens": 32 * i, "loss": 2.0 / i, "tokens/digits": 32 * i} for i in range(1, 7)]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert draw_mixture(plan, metrics, tmp_path / "mixture.svg")
    course = draw_course(plan, layout_of(plan, tmp_path))

    assert course is not None
    said = re.findall(r"<!--(.*?)-->", (tmp_path / "mixture.svg").read_text() + course.decode(), re.DOTALL)
    assert {" training images ", " 192 images ", " training loss, nats per image "} <= set(said)
    assert not [one for one in said if TEXT_WORDS.search(one)]


def test_cards_and_faults() -> None:
    """The table of what was made smaller, and the sentence about a source that was not drawn as planned."""
    _, rows = compressed({"tokens_per_s": {"before": 10.0, "after": 20.0}}, IMAGES)
    assert rows == [("images/s where it was made", "10", "20")]
    plan = plan_of()
    trained = {**TRAINED, "samples_per_source": {"digits": 191}, "tokens_per_source": {"digits": 191}}
    (said,) = differences(data_report(plan.data, {}, trained), plan.counted)
    assert said == "`digits` was to give 192 images, and gave 191"


def test_no_loss_is_planned_where_the_law_is_silent() -> None:
    """Neither for classifiers nor where the plan holds none; elsewhere the law's own."""
    environment = Environment(python="3", packages={}, device="cpu", world_size=1)
    spoken = sealed_plan(budget={"extrapolated": False, "tokens": 6144})
    silent = sealed_plan(budget={"loss": None, "extrapolated": False, "tokens": 6144})
    reports = [build_report(plan, {"train": _record("train", TRAINED)}, environment) for plan in (spoken, silent)]

    assert [report.training.loss.planned for report in reports if report.training] == [spoken.promise.loss, None]
    assert _report().training is not None
