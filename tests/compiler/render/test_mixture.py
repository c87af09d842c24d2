"""The mixture on the screen and the page: a transition is one column and one slope, epochs stand where they are known."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from compiler.mixing.stretches import stretches
from compiler.render.canvas import Look
from compiler.render.mixture import mixture_chart
from compiler.render.plan import render_plan
from schemas.plan import RunPlan
from tests.compiler.mixing.cases import plan

MOVING = """\
mixture:
- {weights: {a: 0.5, b: 0.5}}
- {from: 0.25dur, weights: {a: 0.5, b: 0.5}}
- {from: 0.5dur, weights: {a: 0.2, b: 0.5, c: 0.3}, transition: linear}
- {from: 1dur, weights: {a: 0.9, b: 0.1}, transition: cosine}"""


@pytest.fixture
def moving(tmp_path: Path) -> RunPlan:
    """Held, moved along a line, then along a cosine; the size of one source is known."""
    return plan(tmp_path, MOVING, b="tokens: 300k tok")


def test_a_transition_is_one_stretch(moving: RunPlan) -> None:
    """However many phases it has; its tokens and its ends are those of its pieces."""
    held, line, cosine = stretches(moving)
    assert [stretch.name for stretch in (held, line, cosine)] == ["phase0", "phase1", "phase2"]
    assert [stretch.rule for stretch in (held, line, cosine)] == ["", "linear, 30 pieces", "cosine, 70 pieces"]
    assert (line.start_token, line.end_token) == (256_000, 512_000)
    assert line.tokens("c") == pytest.approx(0.15 * 256_000, abs=128)
    assert line.ends("a") == pytest.approx((0.495, 0.205), abs=0.02)
    course = cosine.course("a")
    assert (course[0][0], course[-1][0]) == (512_000, 1_024_000)
    assert all(later >= share for (_, share), (_, later) in pairwise(course))


def test_the_course_of_small_pieces_has_no_teeth(moving: RunPlan) -> None:
    """A piece of 64 samples has shares of 1.6 points; drawn, a line is one, from end to end."""
    _, line, _ = stretches(moving)
    assert max(sum(one.samples for one in phase.sources.values()) for phase in line.phases) < 100
    for name, first, last in (("a", 0.5, 0.2), ("c", 0.0, 0.3)):
        for token, share in line.course(name):
            passed = (token - line.start_token) / (line.end_token - line.start_token)
            assert share == pytest.approx(first + (last - first) * passed, abs=0.01)


def test_the_screen_has_a_column_a_stretch(moving: RunPlan) -> None:
    """A hundred pieces are two columns, with their rules below, and what is read up, with its step."""
    lines = render_plan(moving, Look(100)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Data"))
    block = [line.split(maxsplit=1)[1] if i == 0 else line.strip() for i, line in enumerate(lines[start : start + 6])]
    assert re.match(r"source +tokens +share +epochs +from 0 +from 256k +from 512k", block[0])
    assert re.match(r"a +\d+k +\d+ % +- +50 % +50 to 20 % +20 to 90 %", block[1])
    assert re.match(r"b +\d+k +\d+ % +1\.4 +50 % +50 % +50 to 10 %", block[2])
    assert block[4] == "from 256k linear, 30 pieces · from 512k cosine, 70 pieces"
    assert re.match(r"b is read once by step 5\d\d \(0\.5\ddur\)", block[5])


@pytest.mark.parametrize("width", [40, 60, 80])
def test_it_fits_any_terminal(moving: RunPlan, width: int) -> None:
    """Columns of stretches go first where there is no room."""
    assert max(map(len, render_plan(moving, Look(width)).splitlines())) <= width


def test_the_chart_draws_slopes(moving: RunPlan) -> None:
    """A constant stretch is a rectangle a source, a transition one area a source; all within the drawing."""
    chart = str(mixture_chart(moving, 540.0))
    areas = re.findall(r'<path d="M([^"]*)Z" class="segment c\d">', chart)
    assert chart.count("<rect") == 2
    assert len(areas) == 6
    assert re.search(r"a: 55 %, 28\dk tokens, from 512k to 1.02M, cosine, 70 pieces", chart)
    points = [tuple(map(float, point.split())) for area in areas for point in area.split("L")]
    assert all(0 <= x <= 540 and 0 <= y <= 335 for x, y in points)
    assert len(chart) < 40_000
