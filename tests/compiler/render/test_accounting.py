"""What techniques add and what is shipped, on the screen and on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.render.accounting import added, assumption, saved
from compiler.render.canvas import Look
from compiler.render.page import render_page
from compiler.render.plan import render_plan
from schemas.plan import ShippedPlan, TechniqueCost
from tests.compiler.seen_plan import seen_plan
from tests.recipes import compile_text

ROWS = (
    TechniqueCost(
        kind="distillation", train_flops=1.3e19, once_flops=0.0, memory_bytes=2_488_000_000, hours=1.5, usd=36.0
    ),
    TechniqueCost(kind="low_rank", train_flops=-3.9e18, once_flops=0.0, memory_bytes=-4_000_000, hours=-0.5, usd=-12.0),
    TechniqueCost(kind="ema", train_flops=0.0, once_flops=0.0, memory_bytes=2_488_000_000, hours=0.0, usd=0.0),
)
REST = TechniqueCost(kind="interaction", train_flops=0.0, once_flops=0.0, memory_bytes=0, hours=0.1, usd=2.4)
SHIPPED = ShippedPlan(
    num_parameters=311_000_000, nonzero=0.5, bits_per_weight=4.5, bytes=174_937_500, dense_bytes=1_244_000_000,
    inference_flops_per_token=6.22e8, dense_inference_flops_per_token=1.244e9, inference_usd=97.0, dense_inference_usd=194.0,
    written_share=0.28, optimum=None, dense_optimum=None,
)  # fmt: skip


def test_rows_say_what_is_added_and_what_is_saved() -> None:
    """Signs, shares of the training's FLOPs, a dash for nothing, and the sum where there are several."""
    plan = seen_plan().model_copy(update={"techniques": ROWS})
    rows = {row.name: row for row in added(plan)}
    assert list(rows) == ["distillation", "low rank", "ema", "together"]
    share = 100 * 1.3e19 / plan.budget.train_flops
    assert rows["distillation"].flops == f"+1.3e19 (+{share:.0f} %)"
    assert rows["distillation"].memory == "+2.49 GB"
    assert (rows["low rank"].time, rows["low rank"].usd) == ("-30 min", "-$12.00")
    assert (rows["ema"].flops, rows["ema"].time, rows["ema"].usd) == ("–", "–", "–")
    assert (rows["together"].time, rows["together"].usd) == ("+60 min", "+$24.00")


def test_one_technique_has_no_sum() -> None:
    """Its row is the sum."""
    plan = seen_plan().model_copy(update={"techniques": ROWS[:1]})
    assert [row.name for row in added(plan)] == ["distillation"]
    assert added(seen_plan()) == []


def test_an_interaction_is_shown_where_it_matters() -> None:
    """Five per cent of the hours; not what rounding leaves."""
    plan = seen_plan()
    with_it = plan.model_copy(update={"techniques": (*ROWS, REST)})
    assert "interaction" in [row.name for row in added(with_it)]
    small = REST.model_copy(update={"hours": 1e-6, "usd": 1e-5})
    without = plan.model_copy(update={"techniques": (*ROWS, small)})
    assert "interaction" not in [row.name for row in added(without)]


def test_the_shipped_model_stands_beside_the_trained_one() -> None:
    """Parameters, bits, bytes, FLOPs and dollars, each with its change; and what the saving rests on."""
    plan = seen_plan().model_copy(update={"techniques": ROWS, "shipped": SHIPPED})
    rows = {row.name: (row.dense, row.shipped, row.change) for row in saved(plan)}
    assert rows["parameters"] == ("622M", "311M, 50 % not zero", "-50 %")
    assert rows["bits a weight"] == ("16", "4.5", "-72 %")
    assert rows["on disk"] == ("1.24 GB", "175 MB", "-86 %")
    assert rows["serving its life"] == ("$194", "$97.00", "-50 %")
    assert "best model to train" not in rows
    assert list(saved(seen_plan())) == []
    assert assumption(seen_plan()) == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_screen_has_both_tables_at_any_width(width: int) -> None:
    """No line is wider than the terminal; a plan without techniques has neither table."""
    plan = seen_plan().model_copy(update={"techniques": ROWS, "shipped": SHIPPED})
    text = render_plan(plan, Look(width=width))
    assert max(map(len, text.splitlines())) <= width
    assert "Adds" in text
    assert "Ships" in text
    assert "Ships" not in render_plan(seen_plan(), Look(width=width))


def test_the_page_has_both_tables(tmp_path: Path) -> None:
    """A section of its own, only where there are techniques."""
    recipe = """\
name: served
model: {size: 160M}
data: {sequence_length: 1024, sources: {web: {mds: s3://corpus/web}}}
budget: {tokens: 3B tok, objective: dollars, inference: {requests: 1B}}
hardware: {gpu: h100-sxm-80gb}
training: {batch: 131072 tok}
"""
    plain = render_page(compile_text(recipe, tmp_path))
    assert 'id="techniques"' not in plain
    page = render_page(compile_text(recipe, tmp_path, "compression=[{kind: quantization, weights: int4}]"))
    section = page[page.index('id="techniques"') : page.index('id="data"')]
    assert "best model to train" in section
    assert "quantization" in section
    assert "single zeros save neither" in section
