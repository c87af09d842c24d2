"""The plan's screen: golden at three widths, in ASCII and in colour; and what it says at the edges."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compiler.budgeting.silence import SILENT
from compiler.render.canvas import Look
from compiler.render.plan import render_plan
from compiler.render.visible import cells
from tests.compiler.seen_plan import seen_plan
from tests.factory import tiny_plan
from tests.recipes import GALLERY, MINIMAL, plan_text

SCREENS = Path(__file__).parent / "screens"


@pytest.mark.parametrize(
    ("name", "look"),
    [("plan-100", Look(100)), ("plan-60", Look(60)), ("plan-40", Look(40)), ("plan-ascii", Look(80, unicode=False))],
)
def test_the_screen_is_pinned(name: str, look: Look) -> None:
    """The whole picture; `make golden` rewrites it, and the difference is part of a review."""
    text = render_plan(seen_plan(), look) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        (SCREENS / f"{name}.txt").write_text(text, encoding="utf-8")

    assert (SCREENS / f"{name}.txt").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("width", [40, 50, 60, 64, 80, 100, 110, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal(width: int, unicode: bool) -> None:
    """Nor ends in spaces, which a log would keep."""
    for plan in (seen_plan(), tiny_plan()):
        lines = render_plan(plan, Look(width, unicode=unicode)).split("\n")

        assert max(cells(line) for line in lines) <= width
        assert all(line == line.rstrip() for line in lines)
        assert unicode or "".join(lines).isascii()


def test_colour_changes_no_letter() -> None:
    """With the colours taken out, a terminal shows what a log holds."""
    import re

    painted = render_plan(seen_plan(), Look(100, color=True))

    assert "\x1b[1m622M" in painted or "\x1b[1mllama 622M" in painted
    assert re.sub(r"\x1b\[\d+m", "", painted) == render_plan(seen_plan(), Look(100))


def test_the_naive_choice_is_named_only_where_it_differs() -> None:
    """What Chinchilla's choice would cost over the life is news; that it is the plan's own is not."""
    same = {"parameters": 622_000_000, "tokens": 10_485_760_000, "loss": 2.689, "train_flops": 3.9e19}
    plain = seen_plan(
        budget={
            "chinchilla": {**same, "lifetime_flops": 1.1e20, "lifetime_usd": 514.0},
            "optimal_parameters": 622_000_000, "binding": "",
        }
    )  # fmt: skip

    assert "Chinchilla" in render_plan(seen_plan())
    assert "Choice" not in render_plan(plain)


def test_a_law_that_promises_less_than_guessing_is_silent() -> None:
    """The plan has no loss then, and the screen says so."""
    silent = seen_plan(budget=dict.fromkeys(SILENT))

    assert "says nothing of this size" in render_plan(silent)
    assert "loss 2" not in render_plan(silent)
    assert "loss 2" in render_plan(seen_plan())


def test_what_has_no_price_costs_nothing_and_says_so() -> None:
    """No interval around nothing, no dollars by part."""
    text = render_plan(tiny_plan())

    assert "no price set" in text
    assert text.count("$") == 1


def test_a_price_of_nothing_that_the_recipe_says_is_no_missing_price(tmp_path: Path) -> None:
    """Free devices are free because the recipe says so; cheap ones keep their digits."""
    free, cheap = (plan_text(MINIMAL, tmp_path, f"hardware.price={price}") for price in ("$0", "$0.004/gpu-hour"))

    assert "$0.00 per CPU-hour" in render_plan(free)
    assert "$0.004 per CPU-hour" in render_plan(cheap)


def test_memory_that_does_not_fit_is_marked() -> None:
    """The bar turns red where the peak is beyond what a plan may fill."""
    full = seen_plan(estimate={"memory_limit_bytes": 60_000_000_000})

    assert "\x1b[31m█" in render_plan(full, Look(100, color=True))
    assert "\x1b[31m█" not in render_plan(seen_plan(), Look(100, color=True))


def test_many_sources_and_phases_stay_on_a_screen() -> None:
    """The first of each, and a count of the rest."""
    names = [f"source-{index}" for index in range(30)]
    tokens = seen_plan().budget.tokens
    samples = tokens // 2048 // 8 // 30
    phases = []
    for phase in range(8):
        shares = {name: {"samples": samples, "tokens": samples * 2048} for name in names[1:]}
        rest = tokens // 2048 // 8 - samples * 29
        shares[names[0]] = {"samples": rest, "tokens": rest * 2048}
        span = {"start_token": tokens // 8 * phase, "end_token": tokens // 8 * (phase + 1)}
        phases.append({"id": f"phase{phase}", **span, "sources": shares})
    sources = {name: {"mds": f"s3://{name}"} for name in names}
    text = render_plan(seen_plan(data={"sources": sources, "phases": phases}))

    assert "18 more sources" in text
    assert "4 phases between" in text
    assert text.count("\n") < 60


def test_plans_of_the_gallery_look_the_same_twice() -> None:
    """No time stamps, no paths of this machine."""
    from compiler.pipeline import compile_recipe

    for recipe in GALLERY:
        plan = compile_recipe(recipe).expect()

        assert render_plan(plan) == render_plan(compile_recipe(recipe).expect())
        assert str(recipe.parent) not in render_plan(plan)
