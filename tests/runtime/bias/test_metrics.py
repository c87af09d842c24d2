"""CEV, SDE and PIE against the golden numbers of their papers' arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.bias.metrics import CEV_REPO, SDE_REPO, Changes, UndefinedChange, cev, changes, exemplars, sde
from runtime.bias.rates import Rates, accuracy, confusion, mean_rates, rates

REFERENCE = np.array([[8, 1, 1], [1, 8, 1], [1, 1, 8]])
MODEL = np.array([[7, 2, 1], [1, 8, 1], [2, 1, 7]])


def _points(x: list[float], y: list[float]) -> Changes:
    return Changes(np.array(x), np.array(y), np.ones(len(x), dtype=bool))


def test_confusion_counts_each_pair() -> None:
    """Rows are the truth, columns the prediction."""
    assert confusion([0, 0, 1, 2, 2], [0, 1, 1, 0, 0], 3).tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 0]]
    assert confusion([], [], 2).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match=r"not in \[0, 3\)"):
        confusion([0, 3], [0, 0], 3)
    with pytest.raises(ValueError, match="2 true classes and 1 predicted"):
        confusion([0, 1], [0], 3)


def test_rates_and_metrics_of_the_golden_matrices() -> None:
    """Golden G1.1: from confusion matrices to both metrics in both conventions."""
    old, new = rates(REFERENCE), rates(MODEL)
    assert old.fpr == pytest.approx([0.1, 0.1, 0.1])
    assert new.fpr == pytest.approx([0.15, 0.15, 0.10])
    assert old.fnr == pytest.approx([0.2, 0.2, 0.2])
    assert new.fnr == pytest.approx([0.3, 0.2, 0.3])
    found = changes(old, new)
    assert found.fpr == pytest.approx([0.5, 0.5, 0.0])
    assert found.fnr == pytest.approx([0.5, 0.0, 0.5])
    assert cev(found) == pytest.approx(0.1111111, abs=1e-7)
    assert sde(found) == pytest.approx(0.3333333, abs=1e-7)
    assert cev(found, "repo") == pytest.approx(555.55556, abs=1e-4)
    assert sde(found, "repo") == pytest.approx(23.5702260, abs=1e-6)
    assert accuracy(REFERENCE) == pytest.approx(0.8)
    assert accuracy(MODEL) == pytest.approx(22 / 30)


def test_metrics_of_the_golden_points() -> None:
    """Golden G1.2."""
    found = _points([0.2, 0.0, 0.4], [0.5, 0.1, 0.0])
    assert cev(found) == pytest.approx(0.0733333, abs=1e-7)
    assert sde(found) == pytest.approx(0.2666667, abs=1e-7)
    assert cev(found, "repo") == pytest.approx(366.66667, abs=1e-4)
    assert sde(found, "repo") == pytest.approx(18.8561808, abs=1e-6)


def test_a_model_that_is_uniformly_worse_has_no_bias() -> None:
    """Golden G1.3: identical models, and one factor for all classes, give exactly 0, whatever the accuracy."""
    old = rates(REFERENCE)
    for new in (old, Rates(old.fpr * 3, old.fnr * 3)):
        found = changes(old, new)
        assert cev(found) == pytest.approx(0.0, abs=1e-15)
        assert sde(found) == pytest.approx(0.0, abs=1e-15)
    assert cev(changes(old, old)) == sde(changes(old, old)) == 0.0


def test_conversion_between_the_conventions_is_exact() -> None:
    """The notebook's formulas, written out (mean_squared_error over 2n numbers, distance / sqrt 2), on random points."""
    x, y = np.random.default_rng(0).normal(size=(2, 50))
    found = _points(x.tolist(), y.tolist())
    points = 100 * np.stack([x, y], axis=1)
    assert cev(found, "repo") == pytest.approx(float(np.mean((points - points.mean(axis=0)) ** 2)))
    assert sde(found, "repo") == pytest.approx(float(np.mean(np.abs(points[:, 0] - points[:, 1])) / math.sqrt(2)))
    assert CEV_REPO == 5000
    assert pytest.approx(70.710678, abs=1e-6) == SDE_REPO


def test_metrics_follow_neither_the_order_of_classes_nor_which_rate_comes_first() -> None:
    """Both are symmetric in x and y, and in the classes; moving all points along the diagonal changes neither."""
    x, y = np.random.default_rng(1).normal(size=(2, 9)).tolist()
    found = _points(x, y)
    same = (_points(y, x), _points(x[::-1], y[::-1]), _points([a + 3 for a in x], [a + 3 for a in y]))
    for other in same:
        assert cev(other) == pytest.approx(cev(found))
        assert sde(other) == pytest.approx(sde(found))


def test_rates_are_averaged_over_replicates() -> None:
    """Two replicates that err on opposite classes are no bias; each alone is."""
    old = Rates(np.array([0.1, 0.1]), np.array([0.2, 0.2]))
    one = Rates(np.array([0.2, 0.1]), np.array([0.2, 0.4]))
    two = Rates(np.array([0.1, 0.2]), np.array([0.4, 0.2]))
    alone, together = changes(old, one), changes(old, mean_rates([one, two]))
    assert together.fpr.tolist() == pytest.approx([0.5, 0.5])
    assert cev(together) == pytest.approx(0.0, abs=1e-15)
    assert (cev(alone) or 0) > 0.1


@pytest.mark.parametrize("rate", ["fpr", "fnr"])
def test_a_reference_rate_of_zero(rate: str) -> None:
    """skip leaves the class out, epsilon divides by epsilon, error names the class."""
    values = {"fpr": np.array([0.1, 0.1, 0.2]), "fnr": np.array([0.2, 0.2, 0.4])}
    values[rate] = np.array([0.1, 0.0, 0.1])
    old, new = Rates(values["fpr"], values["fnr"]), Rates(np.full(3, 0.2), np.full(3, 0.3))
    skipped = changes(old, new)
    assert skipped.counted.tolist() == [True, False, True]
    assert np.isnan([skipped.fpr[1], skipped.fnr[1]]).all()
    two = [0, 2]
    alone = changes(Rates(old.fpr[two], old.fnr[two]), Rates(new.fpr[two], new.fnr[two]))
    assert cev(skipped) == cev(alone)
    assert sde(skipped) == sde(alone)
    divided = changes(old, new, "epsilon", 0.01)
    assert getattr(divided, rate)[1] == pytest.approx(getattr(new, rate)[1] / 0.01)
    assert divided.counted.all()
    with pytest.raises(UndefinedChange) as caught:
        changes(old, new, "error")
    assert caught.value.classes == (1,)


def test_a_class_without_samples_is_never_divided_by() -> None:
    """No sample of a class: its FNR isn't there. No class that counts: no number, rather than one that looks good."""
    old = rates([[5, 1, 0], [1, 5, 0], [0, 0, 0]])
    assert np.isnan(old.fnr[2])
    for how in ("skip", "epsilon"):
        found = changes(old, old, how)
        assert found.counted.tolist() == [True, True, False]
        assert cev(found) == 0.0
    perfect = rates(np.eye(3) * 4)
    nothing = changes(perfect, rates(MODEL))
    assert cev(nothing) is None
    assert sde(nothing) is None


def test_exemplars_are_what_every_replicate_changed() -> None:
    """The intersection over replicates; more replicates never add an exemplar; the reference itself has none."""
    reference = [0, 1, 2, 1, 0]
    one, two = [1, 1, 0, 2, 0], [1, 0, 0, 1, 0]
    assert exemplars(reference, [one]).tolist() == [True, False, True, True, False]
    assert exemplars(reference, [one, two]).tolist() == [True, False, True, False, False]
    # Another wrong answer than the other replicate's is a change too.
    assert exemplars(reference, [one, [2, 0, 1, 1, 0]]).tolist() == [True, False, True, False, False]
    assert not exemplars(reference, [one, reference]).any()
    assert not exemplars(reference, []).any()


# (CEV, SDE) of pruning a CIFAR-100 CNN (resnet32x4) by 30, 45, 60 and 75 %, without and with a teacher, as printed by the
# authors' notebook compression_errors.ipynb.
PUBLISHED = (
    (636.024, 20.065), (822.524, 22.783), (906.577, 22.611), (1772.851, 33.423),
    (405.471, 15.931), (518.719, 17.348), (625.363, 20.293), (909.566, 24.732),
)  # fmt: skip


def test_published_numbers_are_on_our_scale() -> None:
    """Points that scatter normally have CEV = pi/2 SDE^2 in the notebook's convention; its printed pairs lie round that.

    The paper's convention, or one factor of 2 or 100 mistaken in either formula, would be off by far more.
    """
    x, y = np.random.default_rng(2).normal(size=(2, 100_000))
    normal = _points(x.tolist(), y.tolist())
    ours = (cev(normal, "repo") or 0) / (sde(normal, "repo") or 1) ** 2
    assert ours == pytest.approx(math.pi / 2, rel=0.02)
    for printed_cev, printed_sde in PUBLISHED:
        assert printed_cev / printed_sde**2 == pytest.approx(ours, rel=0.15)
