"""Fitting the law to runs: known constants come back, noise is measured, and the optimum is as good as any found."""

from __future__ import annotations

import math
import random
import time

import pytest

from compiler.estimate.law.data import Runs, enough, read_runs
from compiler.estimate.law.fit import DELTA, Fit, fit
from compiler.estimate.law.scaling_law import LAWS
from schemas.budget import ScalingLawName

Rows = tuple[tuple[float, float, float], ...]


def runs(name: ScalingLawName, noise: float, seed: int = 1, sizes: int = 6, ratios: int = 10) -> Rows:
    """Runs of a law over N from 1e8 to 1e10 and D/N from 5 to 500, with relative noise."""
    law, draw = LAWS[name], random.Random(seed)
    grid = [
        (10 ** (8 + 2 * i / (sizes - 1)), 5 * 100 ** (k / (ratios - 1))) for i in range(sizes) for k in range(ratios)
    ]
    return tuple((n, n * r, law.loss(n, n * r) * math.exp(draw.gauss(0, noise))) for n, r in grid)


def objective(rows: Rows, constants: tuple[float, float, float, float, float]) -> float:
    """Hoffmann et al.'s objective, written down once more."""
    e, a, b, alpha, beta = constants
    total = 0.0
    for n, d, loss in rows:
        r = abs(math.log(e + a * n**-alpha + b * d**-beta) - math.log(loss))
        total += 0.5 * r * r if r <= DELTA else DELTA * (r - 0.5 * DELTA)
    return total


@pytest.mark.parametrize("name", ["besiroglu", "sardana", "hoffmann_tex", "sardana_own", "sardana_own_100"])
def test_noise_free_runs_give_the_law_back(name: ScalingLawName) -> None:
    """Exponents to 1e-5 and all else to the 6 digits that are kept, in under a second."""
    law, began = LAWS[name], time.process_time()
    found = fit(runs(name, 0.0))

    assert time.process_time() - began < 1.0
    e, a, b, alpha, beta = found.constants
    assert (alpha, beta) == pytest.approx((law.alpha, law.beta), abs=1e-5)
    assert (e, a, b) == pytest.approx((law.e, law.a, law.b), rel=1e-5)
    assert found.objective < 1e-20


@pytest.mark.parametrize("noise", [1e-3, 5e-3, 2e-2])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_neighbour_is_better(noise: float, seed: int) -> None:
    """Random steps from the fit, small and large, never lower the objective by more than the rounding of its constants."""
    rows = runs("besiroglu", noise, seed)
    found = fit(rows)
    draw = random.Random(seed)
    least = objective(rows, found.constants)

    assert least == pytest.approx(found.objective, rel=1e-4)
    for scale in (1e-4, 1e-3, 1e-2, 0.1):
        for _ in range(200):
            e, a, b, alpha, beta = (value * math.exp(draw.gauss(0, scale)) for value in found.constants)
            assert objective(rows, (e, a, b, alpha, beta)) > least * (1 - 1e-4)


def test_the_interval_covers_the_truth_and_grows_with_distance() -> None:
    """Runs with 0.5 % of noise: the true loss lies in the interval inside the data; far outside it is wider."""
    law, found = LAWS["besiroglu"], fit(runs("besiroglu", 5e-3))
    low, high = found.interval(2e9, 1e11)
    far_low, far_high = found.interval(5e11, 1e14)

    assert low < law.loss(2e9, 1e11) < high
    assert high - low < 0.02 < far_high - far_low


def test_the_same_runs_give_the_same_bits() -> None:
    """No clock, no machine's generator: a fit is part of a plan."""
    rows = runs("besiroglu", 1e-2)

    assert fit(rows) == fit(tuple(rows))


def test_an_outlier_is_borne() -> None:
    """One run of sixty with a diverged loss hardly moves a Huber fit."""
    rows = list(runs("besiroglu", 1e-3))
    rows[17] = (*rows[17][:2], rows[17][2] * 2)
    found = fit(tuple(rows))

    assert found.constants[3:] == pytest.approx((0.3478, 0.3658), abs=0.01)


def test_the_interval_is_the_middle_of_the_resamples() -> None:
    """Of 60 losses the three lowest and three highest are left out."""
    made = Fit((1.0, 1.0, 1.0, 0.3, 0.3), 0.0, tuple((float(i), 0.0, 0.0, 0.3, 0.3) for i in range(60)))

    assert made.interval(1e9, 1e10) == (3.0, 56.0)


CSV = "N,D,loss,comment\n" + "".join(f"{n:.0f},{d:.0f},{loss:.6f},x\n" for n, d, loss in runs("sardana", 0.0))


def test_runs_are_read_in_any_order_of_lines_and_columns() -> None:
    """Aliases, other columns, blank lines, a byte order mark and Windows' line ends change nothing but the hash."""
    lines = CSV.splitlines()
    shuffled = "\ufeff" + "\r\n".join([lines[0], "", *sorted(lines[1:], reverse=True)])
    a, faults = read_runs(CSV.encode())
    b, others = read_runs(shuffled.encode())

    assert faults == others == ()
    assert a.rows == b.rows
    assert len(a.rows) == 60
    assert a.sha256 != b.sha256
    assert enough(a) == ""


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "empty"),
        ("a,b,c\n1,2,3\n", 1, "no column `parameters`"),
        ("N;D;loss\n1e9;2e10;2.5\n", 1, "parted by `;`, not by commas"),
        ("N\tD\tloss\n1e9\t2e10\t2.5\n", 1, "parted by a tab"),
        ("N,parameters,D,loss\n1,1,2,3\n", 1, "more than one column `parameters`"),
        ("N,D,loss\n1e9,2e10,2.5\n1e9,x,2.5\n", 3, "`tokens` is 'x'"),
        ("N,D,loss\n1e9,2e10\n", 2, "`loss` is 'missing'"),
        ("N,D,loss\n1e9,2e10,-1\n", 2, "`loss` is '-1'"),
        ("N,D,loss\n1e9,2e10,nan\n", 2, "`loss` is 'nan'"),
        ("N,D,loss\n1e9,inf,2\n", 2, "`tokens` is 'inf'"),
        ("\xff\xfe", 1, "UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_of_runs_has_its_line(text: str, line: int, message: str) -> None:
    """Each fault names the line of the CSV."""
    _, faults = read_runs(text.encode("latin-1"))

    assert faults[0].line == line
    assert message in faults[0].message
    assert faults[0].help


def test_too_few_runs_are_refused() -> None:
    """Five constants can't be had from seven runs, nor from two sizes."""
    few, _ = read_runs("\n".join(CSV.splitlines()[:8]).encode())
    narrow, _ = read_runs(("N,D,loss\n" + "".join(f"{n}e9,{d}e10,2.5\n" for n in (1, 2) for d in range(1, 9))).encode())

    assert "7 runs are too few" in enough(few)
    assert "1,200 runs are too many" in enough(Runs(few.rows[:6] * 200, ""))
    assert "2 sizes" in enough(narrow)
    assert len(read_runs(CSV.encode())[0].below(100).rows) < 60
