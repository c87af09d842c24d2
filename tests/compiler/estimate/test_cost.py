"""Time, money and energy: published figures, and the properties that the formulas must have."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.estimate.cost import (
    Times,
    best_interval_seconds,
    checkpoint_bytes,
    co2e_kg,
    energy_kwh,
    prepare_seconds,
    restarts,
    startup_seconds,
    training_usd,
)

YEAR = 365.25 * 86_400


@pytest.mark.parametrize(
    ("gpu_hours", "mwh", "tonnes"), [(82_432, 36, 14), (135_168, 59, 23), (530_432, 233, 90), (1_022_362, 449, 173)]
)
def test_energy_of_llama(gpu_hours: float, mwh: float, tonnes: float) -> None:
    """Table 15 of LLaMA's paper: A100 of 400 W, PUE 1.1, 0.385 kg/kWh, printed in whole MWh and tonnes."""
    kwh = energy_kwh(gpu_hours, 400.0, 1.1)
    assert round(kwh / 1000) == pytest.approx(mwh, abs=1)
    assert round(co2e_kg(kwh, 0.385) / 1000) == tonnes


@pytest.mark.parametrize(("days", "usd"), [(0.48, 5_898), (7.43, 91_300), (176.55, 2_169_446)])
def test_dollars_of_published_days(days: float, usd: float) -> None:
    """Days on 256 GPUs at $2 an hour, as behind MosaicML's table of training costs."""
    rate = 1000.0
    assert training_usd(days * 86_400 * 256 * rate, rate, 256, 2.0) == pytest.approx(usd, rel=1e-4)


def simulated(work: float, interval: float, save: float, restart: float, mtbf: float, rng: random.Random) -> float:
    """Wall-clock of one run whose machines fail at random; failures strike restarts and saves, too."""
    clock, done, failure = 0.0, 0.0, rng.expovariate(1 / mtbf)
    while done < work:
        segment = min(interval, work - done) + save
        if clock + segment <= failure:
            clock, done = clock + segment, done + segment - save
            continue
        clock = failure
        failure = clock + rng.expovariate(1 / mtbf)
        while clock + restart > failure:
            clock = failure
            failure = clock + rng.expovariate(1 / mtbf)
        clock += restart
    return clock


@pytest.mark.parametrize(
    ("interval", "save", "restart", "mtbf"), [(900, 30, 600, 11_000), (3600, 120, 600, 20_000), (600, 5, 60, 3000)]
)
def test_restarts_are_what_a_simulation_finds(interval: float, save: float, restart: float, mtbf: float) -> None:
    """The closed form against random failures: Llama 3's cluster (3 h between failures), and gentler ones."""
    rng, work = random.Random(5), interval * 100.0
    mean = sum(simulated(work, interval, save, restart, mtbf, rng) for _ in range(400)) / 400
    expected = work * (1 + save / interval) + restarts(work, interval, save, restart, mtbf)
    assert mean == pytest.approx(expected, rel=0.03)


def test_llama_3_lost_less_than_a_tenth() -> None:
    """16,384 GPUs at 50,700 GPU-hours a failure, checkpoints every quarter of an hour: more than 90 % of the time is work."""
    work, mtbf = 54 * 86_400.0, 50_700 * 3600 / 16_384
    lost = restarts(work, 900, 10, 420, mtbf)
    assert 0.05 * work < lost < 0.1 * work
    assert work / mtbf == pytest.approx(419, rel=0.005)


@given(st.floats(1, 600), st.floats(1e4, 1e8))
def test_youngs_interval_loses_least(save: float, mtbf: float) -> None:
    """Half and double the interval lose more, where failures are rarer than checkpoints."""
    work, best = YEAR, best_interval_seconds(save, mtbf)
    if save > 0.05 * mtbf:
        return
    lost = [restarts(work, t, save, 300, mtbf) + work / t * save for t in (best / 2, best, best * 2)]
    assert lost[1] <= min(lost[0], lost[2])


@given(st.floats(0, 1e9), st.floats(1, 1e7), st.floats(0, 1e5), st.floats(0, 1e5), st.floats(1e-3, 1e12))
def test_restarts_are_finite_and_grow_with_failures(
    work: float, interval: float, save: float, restart: float, mtbf: float
) -> None:
    """Whatever the machines: a number, never negative, not less where failures are more frequent."""
    lost = restarts(work, interval, save, restart, mtbf)
    assert 0 <= lost < math.inf
    if max(interval + save, restart) < 100 * mtbf:  # what hardly ever finishes is cut off, to stay finite
        assert restarts(work, interval, save, restart, mtbf / 2) >= lost * (1 - 1e-6) - 1e-3


def test_machines_that_never_fail_cost_nothing() -> None:
    """A year of work at one failure in a million years."""
    assert restarts(YEAR, 3600, 60, 600, 1e6 * YEAR) < 1e-2 * YEAR / 1000


def test_parts_sum_and_bounds_enclose() -> None:
    """A faster run with half the overhead is shorter; preparing holds no device."""
    times = Times(startup=100, prepare=50, training=1000, evaluation=20, checkpoints=30, restarts=10)
    assert times.total == 1210
    assert sum(times.held.values()) == 1160
    quick = times.at(2.0, 0.5)
    assert quick.parts == {
        "startup": 50, "prepare": 25, "training": 500, "evaluation": 10, "checkpoints": 15, "restarts": 5,
    }  # fmt: skip
    assert times.at(1.0, 1.0) == times


def test_single_formulas() -> None:
    """Startup grows with the step and with compiling; a checkpoint of AdamW has 12 bytes a parameter; writing is one process."""
    assert startup_seconds("gpu", 2.0, compiled=False) == 140
    assert startup_seconds("cpu", 2.0, compiled=True) == 10 + 20 + 90
    assert startup_seconds("cpu", 2.0, compiled=False, again=True) == 3 + 20
    assert checkpoint_bytes(1e9, states=2) == 12e9
    assert checkpoint_bytes(1e9, states=2, extra_parameters=1e9) == 16e9
    assert prepare_seconds(4e6, cores=2) == pytest.approx(15)
    assert prepare_seconds(1e9, cores=64) == prepare_seconds(1e9, cores=5)
