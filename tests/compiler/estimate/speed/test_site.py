"""A user's own cluster: factors from few and many runs, and the file that carries them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from compiler.estimate.speed.site import GROUPS, MeasuredStep, calibrate, read_site, stretch, write_site

PARTS = ("matmul", "attention", "pointwise", "loss", "recompute", "communication", "bubble", "optimizer", "overhead")


def _runs(count: int, truth: dict[str, float], noise: float = 0.0, seed: int = 1) -> list[MeasuredStep]:
    rng = random.Random(seed)
    steps = []
    for i in range(count):
        parts = {part: rng.uniform(0.02, 1.0) for part in PARTS}
        seconds = sum(stretch(parts, truth).values()) * math.exp(rng.gauss(0, noise))
        steps.append(MeasuredStep(f"run {i}", parts, seconds, within=0.2))
    return steps


def test_every_part_belongs_to_one_group() -> None:
    assert sorted(part for names in GROUPS.values() for part in names) == sorted(PARTS)


def test_many_runs_find_the_truth() -> None:
    truth = {"products": 1.15, "memory": 0.9, "communication": 1.8, "overhead": 1.3}
    site = calibrate(_runs(200, truth, noise=0.02))

    assert site.stretch == pytest.approx(truth, rel=0.03)
    assert site.before > 0.1
    assert site.median < 0.02
    assert site.within < 0.06


def test_one_run_moves_the_factors_part_of_the_way() -> None:
    steps = _runs(1, dict.fromkeys(GROUPS, 1.2))
    site = calibrate(steps)
    shipped, fitted = (sum(stretch(steps[0].parts, factors).values()) for factors in ({}, site.stretch))

    assert min(site.stretch.values()) > 1
    assert 0.8 < math.log(fitted / shipped) / math.log(1.2) < 1
    assert site.within > 0.15  # one run earns no narrow interval


def test_more_runs_earn_a_narrower_interval() -> None:
    widths = [calibrate(_runs(count, {"products": 1.1}, noise=0.03)).within for count in (1, 5, 50)]

    assert widths == sorted(widths, reverse=True)


def test_runs_that_agree_with_the_estimates_change_nothing() -> None:
    assert calibrate(_runs(20, {})).stretch == pytest.approx(dict.fromkeys(GROUPS, 1.0), abs=1e-6)


def test_one_odd_run_does_not_bend_the_rest() -> None:
    runs = _runs(30, {"products": 1.1})
    odd = MeasuredStep("odd", runs[0].parts, runs[0].seconds * 8, within=0.2)

    assert calibrate([*runs, odd]).stretch["products"] == pytest.approx(1.1, rel=0.03)


def test_without_runs_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="no run"):
        calibrate([])


def test_the_file_carries_all_of_it(tmp_path: Path) -> None:
    site = calibrate(_runs(7, {"memory": 1.4}, noise=0.05))
    (tmp_path / "site.json").write_text(write_site(site), encoding="utf-8")

    assert read_site(tmp_path / "site.json") == site


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a calibration"),
        ('{"recipec_calibration": 2}', "not a calibration of version 1"),
        ('{"recipec_calibration": 1}', "`stretch` must hold"),
        ('{"recipec_calibration": 1, "stretch": {"products": 1}}', "`stretch` must hold"),
    ],
)
def test_another_file_is_refused(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "site.json").write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=why):
        read_site(tmp_path / "site.json")


@pytest.mark.parametrize(
    "change",
    [
        {"products": 0},
        {"products": -1},
        {"products": "1"},
        {"products": True},
        {"products": 1e9},
        {"runs": 0},
        {"within": 9},
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    held = json.loads(write_site(calibrate(_runs(3, {}))))
    for key, value in change.items():
        (held["stretch"] if key in GROUPS else held)[key] = value
    (tmp_path / "site.json").write_text(json.dumps(held), encoding="utf-8")

    with pytest.raises(ValueError, match="must"):
        read_site(tmp_path / "site.json")


@pytest.mark.parametrize("damaged", [[1], {}, "x", None, -1, True])
def test_a_damaged_printed_error_breaks_nothing(damaged: object, tmp_path: Path) -> None:
    """Nothing is computed from it, so it is 0 where it is no number."""
    held = json.loads(write_site(calibrate(_runs(3, {"memory": 1.4})))) | {"median": damaged, "before": damaged}
    (tmp_path / "site.json").write_text(json.dumps(held), encoding="utf-8")

    assert read_site(tmp_path / "site.json").median == 0.0
