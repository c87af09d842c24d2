"""The picture of the mix: planned and drawn share of each source over time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from runtime.reporting.mixture_plot import draw_mixture, drawn_shares, planned_shares
from schemas.plan import RunPlan
from tests.factory import tiny_plan

LENGTH, BATCH = 64, 8 * 64
Mix = tuple[int, dict[str, int], str]
"""Batches, samples of each source in a batch, transition."""

STEP: Sequence[Mix] = ((80, {"code": 6, "prose": 2}, "step"), (40, {"code": 2, "prose": 6}, "step"))
LINE: Sequence[Mix] = (
    (50, {"code": 8, "prose": 0}, "step"),
    *((10, {"code": 8 - i, "prose": i}, "linear") for i in range(1, 8)),
    (30, {"code": 0, "prose": 8}, "step"),
)


def plan_of(mixes: Sequence[Mix], every: int = 1) -> RunPlan:
    """The tiny plan with these mixes one after the other, and a record every so many batches."""
    phases, start = [], 0
    for i, (batches, mix, transition) in enumerate(mixes):
        sources = {n: {"samples": k * batches, "tokens": k * batches * LENGTH} for n, k in mix.items() if k}
        end = start + batches * BATCH
        phases.append(
            {"id": f"p{i}", "start_token": start, "end_token": end, "transition": transition, "sources": sources}
        )
        start = end
    names = {name: {"builtin": "cpython-library"} for name in mixes[0][1]}
    steps = start // BATCH
    return tiny_plan(
        budget={"tokens": start},
        training={"steps": steps},
        data={"phases": phases, "sources": names},
        logging={"interval_steps": every},
    )


def write_metrics(path: Path, mixes: Sequence[Mix], *, every: int, begin: int = 0, until: int = 10**9) -> Path:
    """Records of a run that draws as planned; those before batch `begin` and after `until` are missing."""
    step, drawn, lines = 0, dict.fromkeys(mixes[0][1], 0), []
    for batches, mix, _ in mixes:
        for last in [*itertools.repeat(False, batches - 1), True]:
            step += 1
            drawn = {name: tokens + mix[name] * LENGTH for name, tokens in drawn.items()}
            if begin <= step <= until and (step % every == 0 or last):
                counts = {f"tokens/{name}": tokens for name, tokens in drawn.items()}
                lines.append(json.dumps({"step": step, "tokens": step * BATCH, "loss": 5.0, **counts}))
    path.write_text("\n".join([*lines, '{"step": 999, "tok']))
    return path


@pytest.mark.parametrize("every", [1, 7, 30])
@pytest.mark.parametrize("mixes", [STEP, LINE], ids=["step", "line"])
def test_dots_lie_on_the_plan(tmp_path: Path, mixes: Sequence[Mix], every: int) -> None:
    """A run that draws as planned has its dots on the planned line: no span crosses the end of a constant mix."""
    plan = plan_of(mixes, every)
    spans = drawn_shares(plan, write_metrics(tmp_path / "metrics.jsonl", mixes, every=every))
    assert (spans[0].start, spans[-1].end) == (0, plan.budget.tokens)
    assert all(before.end == after.start for before, after in itertools.pairwise(spans))
    assert len(spans) <= 61 + len(mixes)
    for span in spans:
        for name in plan.data.sources:
            planned = sum(
                share * max(0, min(end, span.end) - max(start, span.start))
                for (start, share), (end, _) in itertools.pairwise(planned_shares(plan.data.phases, name))
            )
            assert span.shares[name] == pytest.approx(planned / (span.end - span.start))


def test_another_future_is_shown_with_its_past(tmp_path: Path) -> None:
    """Planned is the plan that finished; drawn is what the records say, where they differ too."""
    spans = drawn_shares(plan_of(STEP), write_metrics(tmp_path / "metrics.jsonl", LINE, every=1, until=100))
    assert spans[0].shares == {"code": 1.0, "prose": 0.0}
    assert spans[-1].end == 100 * BATCH


def test_a_source_that_a_later_plan_added(tmp_path: Path) -> None:
    """Records from before know nothing of it, and it had no share; those of a source that left still count in the whole."""
    changed = [(n, {"code": mix["code"], "math": mix["prose"]}, kind) for n, mix, kind in STEP]
    spans = drawn_shares(plan_of(changed), write_metrics(tmp_path / "metrics.jsonl", STEP, every=1, until=80))
    assert {(span.shares["code"], span.shares["math"]) for span in spans} == {(0.75, 0.0)}
    assert spans[-1].tokens == {"code": 80 * 6 * LENGTH, "math": 0}


def test_a_file_that_begins_in_the_middle(tmp_path: Path) -> None:
    """What came before its first record is not taken for one long span."""
    spans = drawn_shares(plan_of(STEP), write_metrics(tmp_path / "metrics.jsonl", STEP, every=1, begin=60))
    assert spans[0].start == 60 * BATCH


def test_the_picture_is_svg_with_a_row_for_each_source(tmp_path: Path) -> None:
    """Whole, well-formed, the same bytes each time, with the run's name; what is drawn is in the file's shapes."""
    plan = plan_of(LINE)
    metrics = write_metrics(tmp_path / "metrics.jsonl", LINE, every=1)
    for name in ("a.svg", "b.svg"):
        assert draw_mixture(plan, metrics, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    root = ET.fromstring((tmp_path / "a.svg").read_bytes())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    groups = [group.get("id", "") for group in root.iter("{http://www.w3.org/2000/svg}g")]
    assert sum(group.startswith("axes_") for group in groups) == 2
    dots = len(drawn_shares(plan, metrics))
    assert dots > 30
    # Each dot is one use of the marker's shape; one more stands in the legend.
    uses = (tmp_path / "a.svg").read_text().count("fill: #d55e00")
    assert uses >= 2 * dots
    assert f"{plan.name} {plan.short_fingerprint}" in (tmp_path / "a.svg").read_text()


def test_many_sources_keep_the_picture_readable(tmp_path: Path) -> None:
    """The 16 with the most tokens have a row; the title counts the others."""
    mixes: Sequence[Mix] = ((40, {f"s{i:02d}": 1 if i else 3 for i in range(20)}, "step"),)
    plan = plan_of_wide(mixes)
    metrics = write_wide(tmp_path / "metrics.jsonl", plan)
    assert draw_mixture(plan, metrics, tmp_path / "mixture.svg")
    text = (tmp_path / "mixture.svg").read_text()
    assert sum(f'id="axes_{i}"' in text for i in range(1, 30)) == 16
    assert "(and 4 smaller ones)" in text


def plan_of_wide(mixes: Sequence[Mix]) -> RunPlan:
    """A plan of one phase with batches as large as its mix."""
    batches, mix, _ = mixes[0]
    size = sum(mix.values())
    tokens = batches * size * LENGTH
    shares = {name: {"samples": n * batches, "tokens": n * batches * LENGTH} for name, n in mix.items()}
    phases = [{"id": "p0", "start_token": 0, "end_token": tokens, "sources": shares}]
    names = {name: {"builtin": "cpython-library"} for name in mix}
    training = {"steps": batches, "global_batch_samples": size, "global_batch_tokens": size * LENGTH}
    return tiny_plan(budget={"tokens": tokens}, training=training, data={"phases": phases, "sources": names})


def write_wide(path: Path, plan: RunPlan) -> Path:
    """One record, at the end."""
    counts = {f"tokens/{name}": share.tokens for name, share in plan.data.phases[0].sources.items()}
    path.write_text(json.dumps({"step": plan.training.steps, "tokens": plan.budget.tokens, **counts}))
    return path


def test_nothing_drawn_no_picture(tmp_path: Path) -> None:
    """Without records, or with those of a version that did not count sources, there is no picture and no failure."""
    plan = plan_of(STEP)
    assert not draw_mixture(plan, tmp_path / "metrics.jsonl", tmp_path / "mixture.svg")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "tokens": 512, "loss": 5.0}\n')
    assert not draw_mixture(plan, tmp_path / "metrics.jsonl", tmp_path / "mixture.svg")
    assert not (tmp_path / "mixture.svg").exists()
