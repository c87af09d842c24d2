"""Judging tables: what is read, what is added, and that no cell can break it."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import pytest

from compiler.estimate.rows.judge import PREDICTED, judge
from compiler.estimate.rows.table import INPUTS, Row, read_rows
from compiler.estimate.speed.site import GROUPS, Site

RUNS = Path(__file__).parents[4] / "benchmarks" / "calibrate" / "runs.csv"
# Every measured or derived column of the published table, those that runs.csv leaves out too.
MEASURED = [
    "tokens_per_s_per_gpu",
    "mfu",
    "hfu",
    "peak_mem_gb",
    "status",
    "step_time_s",
    "reported_tflops_per_gpu",
    "mfu_6n",
    "mfu_6n_attn_full",
    "mfu_6n_attn_causal",
    "mfu_match",
    "mfu_rel_err",
    "throughput_origin",
    "check",
    "group",
    "weight",
    "tier",
    "size_bucket",
]
HOSTILE = (
    "",
    "none",
    "abc",
    "-4",
    "0",
    "1e308",
    "1e400",
    "nan",
    "inf",
    "3.7",
    "🙂",
    "1" * 400,
    "0x10",
    "TP-1",
    "=1+1",
    "\x00",
)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(read_rows(RUNS))


def _added(row: dict[str, str]) -> dict[str, str]:
    return {name: row[name] for name in PREDICTED}


def test_rows_come_out_as_they_went_in(rows: list[Row]) -> None:
    for row, found in zip(rows, judge(rows), strict=True):
        assert {name: found[name] for name in row.cells} == dict(row.cells)


def test_a_row_has_predictions_or_a_reason(rows: list[Row]) -> None:
    judged = 0
    for found in map(_added, judge(rows)):
        if found["pred_note"]:
            assert not any(value for name, value in found.items() if name != "pred_note")
            continue
        judged += 1
        assert all(value for name, value in found.items() if name != "pred_note")
        assert found["pred_fits"] in {"true", "false"}
        for name in ("pred_tokens_per_s_per_gpu", "pred_peak_mem_gb"):
            low, middle, high = (float(found[name + end]) for end in ("_low", "", "_high"))
            assert 0 < low < middle < high < math.inf

    assert judged / len(rows) > 0.9


def test_measured_columns_are_never_read(rows: list[Row]) -> None:
    """Shuffled over the table, or gone: the same predictions to the last digit."""
    rng = random.Random(0)
    columns = {name: [row.cells.get(name, "7") for row in rows] for name in MEASURED}
    for values in columns.values():
        rng.shuffle(values)
    shuffled = [
        Row(row.line, dict(row.cells) | {name: values[i] for name, values in columns.items()})
        for i, row in enumerate(rows)
    ]
    bare = [Row(row.line, {name: row.cells[name] for name in INPUTS}) for row in rows]
    expected = [_added(found) for found in judge(rows)]

    assert [_added(found) for found in judge(shuffled)] == expected
    assert [_added(found) for found in judge(bare)] == expected


@pytest.mark.parametrize("seed", range(3))
def test_no_cell_breaks_it(rows: list[Row], seed: int) -> None:
    """Every input replaced by something nobody would write, one and several at a time."""
    rng = random.Random(seed)
    hostile = []
    for row, value in itertools.product(rng.sample(rows, 4), HOSTILE):
        hostile += [Row(row.line, dict(row.cells) | {name: value}) for name in INPUTS]
        several = {name: rng.choice(HOSTILE) for name in rng.sample(INPUTS, 4)}
        hostile.append(Row(row.line, dict(row.cells) | several))

    for found in map(_added, judge(hostile)):
        assert bool(found["pred_note"]) != bool(found["pred_tokens_per_s_per_gpu"])


def test_huge_and_tiny_numbers_stay_finite_or_say_why(rows: list[Row]) -> None:
    changes = {"n_layers": "90000000", "d_model": "90000000", "seq_len": "900000000", "microbatch": "90000000"}
    for names in itertools.chain.from_iterable(itertools.combinations(changes, size) for size in range(1, 5)):
        for value in (None, "1"):
            cells = {name: value or changes[name] for name in names}
            for found in judge([Row(row.line, dict(row.cells) | cells) for row in rows[::200]]):
                numbers = [float(found[name]) for name in PREDICTED[:7] if found[name]]
                assert all(math.isfinite(number) for number in numbers)
                assert found["pred_note"] or len(numbers) == 7


def test_a_calibration_reaches_every_row(rows: list[Row]) -> None:
    half = Site(dict.fromkeys(GROUPS, 2.0), runs=5, before=0.7, median=0.05, within=0.1)
    for free, slow in zip(judge(rows[:50]), judge(rows[:50], half), strict=True):
        assert float(slow["pred_tokens_per_s_per_gpu"]) == pytest.approx(
            float(free["pred_tokens_per_s_per_gpu"]) / 2, rel=1e-5
        )
