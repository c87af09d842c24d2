"""What the step `compare` records, and the gate that reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from runtime.bias.comparison import Prediction, compare
from runtime.bias.gate import gate_error, most_moved
from runtime.bias.picture import draw_bias
from runtime.bias.text import card_lines, facts, table
from runtime.errors import RunFailed
from schemas.evaluation import BiasPlan

REFERENCE = [[8, 1, 1], [1, 8, 1], [1, 1, 8]]
MODEL = [[7, 2, 1], [1, 8, 1], [2, 1, 7]]


def bias_of(**changes: Any) -> BiasPlan:
    """A comparison of labels with an earlier run."""
    values: dict[str, Any] = {
        "against": "run", "run": "base", "folder": None, "replicates": {}, "fingerprint": "f", "classes": "labels",
        "buckets": 10, "convention": "paper", "zero_rate": "skip", "epsilon": 1e-12, "max_cev": None, "max_sde": None,
    }  # fmt: skip
    return BiasPlan(**{**values, **changes})


def _samples(matrix: list[list[int]]) -> tuple[npt.NDArray[np.int64], Prediction]:
    """Truth and predictions with these counts."""
    truth = [i for i, row in enumerate(matrix) for count in row for _ in range(count)]
    found = [j for row in matrix for j, count in enumerate(row) for _ in range(count)]
    classes = np.array(found)
    return np.array(truth), Prediction(classes, float(np.mean(classes == truth)))


def golden(**changes: Any) -> dict[str, Any]:
    """The values of golden G1.1, as the step records them."""
    truth, old = _samples(REFERENCE)
    _, new = _samples(MODEL)
    values = compare(truth, ["cat", "dog", "$emu<"], old, [new], bias_of(**changes))
    return {"against": "base", "judged": "trained", **values, "stages": {"trained": values}}


def test_the_golden_matrices_are_recorded() -> None:
    """Golden G1.1 through the recorded values, which are JSON without NaN."""
    values = golden()
    assert values["cev"] == pytest.approx(1 / 9)
    assert values["sde"] == pytest.approx(1 / 3)
    assert values["accuracy"] == {"reference": pytest.approx(0.8), "model": pytest.approx(22 / 30)}
    assert values["confusion"] == {"reference": REFERENCE, "model": MODEL}
    assert [one["samples"] for one in values["classes"]] == [10, 10, 10]
    assert values["classes"][1]["fpr"] == {
        "reference": pytest.approx(0.1), "model": pytest.approx(0.15), "change": pytest.approx(0.5)
    }  # fmt: skip
    assert values["pie"] == 3
    assert values["samples"] == 30
    assert values["left_out"] == []
    assert golden(convention="repo")["cev"] == pytest.approx(555.5555, abs=1e-3)
    json.dumps(values, allow_nan=False)


def test_replicates_share_their_rates_and_their_exemplars() -> None:
    """A second replicate that equals the reference halves the changes, and leaves no sample that all have changed."""
    truth, old = _samples(REFERENCE)
    _, new = _samples(MODEL)
    one = compare(truth, ["a", "b", "c"], old, [new], bias_of())
    two = compare(truth, ["a", "b", "c"], old, [new, old], bias_of())
    assert two["sde"] == pytest.approx(one["sde"] / 2)
    assert two["cev"] == pytest.approx(one["cev"] / 4)
    assert two["pie"] == 0
    assert two["accuracy"]["model"] == pytest.approx((22 / 30 + 0.8) / 2)


def test_a_perfect_reference_has_no_metric_but_for_its_own_double() -> None:
    """No error in the reference: nothing to divide by, so no number; a model that predicts the same has 0."""
    truth, perfect = _samples([[4, 0], [0, 4]])
    _, other = _samples([[3, 1], [0, 4]])
    values = compare(truth, ["a", "b"], perfect, [other], bias_of())
    assert values["cev"] is values["sde"] is None
    assert values["left_out"] == ["a", "b"]
    same = compare(truth, ["a", "b"], perfect, [perfect], bias_of())
    assert same["cev"] == same["sde"] == 0.0
    with pytest.raises(RunFailed, match="no error of one kind in class a, b") as caught:
        compare(truth, ["a", "b"], perfect, [other], bias_of(zero_rate="error"))
    assert caught.value.code == "RC610"


def test_the_gate_names_the_classes_that_moved_most() -> None:
    """Above a limit: code, both accuracies, the classes, and a limit that would let it through. At the limit: nothing."""
    values = golden()
    assert gate_error(None, values) is None
    assert gate_error(bias_of(), values) is None
    assert gate_error(bias_of(max_cev=values["cev"], max_sde=values["sde"]), values) is None
    error = gate_error(bias_of(max_cev=0.1, max_sde=0.5), values)
    assert error is not None
    assert (error.code, error.exit_code) == ("RC610", 3)
    assert "CEV 0.1111 is above max_cev: 0.1" in error.message
    assert "SDE" not in error.message
    assert "0.8000 in the reference, 0.7333 in the model" in error.message
    assert "`dog` false negatives 0%, false positives +50%" in error.message
    assert "max_cev: 0.12" in error.remedy
    assert gate_error(bias_of(max_cev=0.12), values) is None
    assert most_moved(values, 1) == ["`$emu<` false negatives +50%, false positives 0%"]


def test_the_gate_fails_what_it_cannot_judge() -> None:
    """Without a relative change there is no number to hold against a limit: that is no pass."""
    values = {**golden(), "cev": None, "sde": None}
    error = gate_error(bias_of(max_sde=1.0), values)
    assert error is not None
    assert "SDE can't be held against a limit" in error.message


def test_words_show_both_accuracies_and_fit_the_terminal() -> None:
    """The log's half line, the table of 80 columns, and the card, in which no name is markup."""
    values = golden()
    assert facts(values) == (
        "against base: CEV 0.1111, SDE 0.3333, 3 of 30 predictions changed class, accuracy 80.00% -> 73.33%"
    )
    lines = table(values, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1].split() == ["$emu<", "10", "10.00%", "->", "10.00%", "20.00%", "->", "30.00%"]
    card = "\n".join(card_lines(values))
    assert "| trained | 0.1111 | 0.3333 | 3 (10.00%) | 73.33% |" in card
    assert "`$emu<`" in card


def test_the_picture_is_the_same_each_time_and_takes_any_name(tmp_path: Path) -> None:
    """Equal bytes for equal values; names are text, neither formula nor markup; without a class there is none."""
    for name in ("one.svg", "two.svg"):
        assert draw_bias(golden(), "model against base", tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    drawn = (tmp_path / "one.svg").read_text()
    assert "$emu&lt;" in drawn
    assert "CEV 0.1111, SDE 0.3333 (paper)" in drawn
    empty = {**golden(), "classes": []}
    assert not draw_bias(empty, "nothing", tmp_path / "none.svg")
