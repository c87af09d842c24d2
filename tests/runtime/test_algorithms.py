"""Algorithms: their tensor functions against numbers by hand, and each of them across an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.algorithms import distillation, ema, pruning, sequence_length_warmup
from runtime.errors import DataError
from runtime.model import build_untrained, load_trained
from runtime.window import TokenWindow
from schemas.techniques.sequence_length_warmup import SequenceLengthWarmupAlgorithm
from tests.runtime.interruption import interrupted_after
from tests.runtime.training_case import layout_of, metrics, plan_of, train

BATCH = 512
WHOLE = {"start_token": 0, "end_token": 6 * BATCH}
LATER = {"start_token": 2 * BATCH, "end_token": 5 * BATCH}

ALGORITHMS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "sequence_length_warmup": [
        {
            "kind": "sequence_length_warmup", "window": {"start_token": 0, "end_token": 4 * BATCH}, "start_length": 16,
            "end_length": 64, "step_size": 8, "truncate": True,
        }
    ],
    "gradient_clipping": [{"kind": "gradient_clipping", "window": WHOLE, "clipping": "norm", "threshold": 0.1}],
    "ema": [{"kind": "ema", "window": LATER, "smoothing": 0.7, "update_interval_steps": 1}],
    "ema begun after the stop": [
        {"kind": "ema", "window": {**WHOLE, "start_token": 4 * BATCH}, "smoothing": 0.7, "update_interval_steps": 1}
    ],
    "pruning": [{"kind": "pruning", "window": LATER, "sparsity": 0.5, "scope": "layer", "interval_steps": 1}],
    "distillation": [
        {"kind": "distillation", "window": WHOLE, "teacher": "teacher", "temperature": 2.0, "weight": 0.5}
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a teacher that is another tiny model."""
    build_untrained(plan_of(seed=99)).save_pretrained(tmp_path / "teacher")
    return tmp_path


@pytest.mark.parametrize("name", ALGORITHMS)
def test_three_steps_resumed_for_three_more_are_six_straight(folder: Path, name: str) -> None:
    """Losses, held-out losses and final weights (averaged or pruned ones too) are equal to the last bit."""
    plan = plan_of(6, algorithms=ALGORITHMS[name], evaluation={"interval_steps": 2})
    other = plan.model_copy(update={"name": "other"})
    straight = train(plan, folder)
    with interrupted_after(3):
        assert train(other, folder)["status"] == "interrupted"
    resumed = train(other, folder)
    assert resumed["resumed_from"] == 3
    timing = ("seconds", "tokens_per_s", "mfu", "resumed_from", "spend")
    assert {k: v for k, v in resumed.items() if k not in timing} == {
        k: v for k, v in straight.items() if k not in timing
    }

    def losses(plan: Any) -> list[dict[str, float]]:
        return [{k: v for k, v in line.items() if k not in timing} for line in metrics(plan, folder)]

    assert losses(other) == losses(plan)
    left, right = (load_trained(p, layout_of(p, folder)).state_dict() for p in (plan, other))
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_algorithms_change_the_run_and_listing_none_changes_nothing(folder: Path) -> None:
    """Every algorithm leaves its mark on the trained weights or the loss; two plain runs are equal."""
    results = {}
    for name in ("none", "gradient_clipping", "pruning", "distillation", "sequence_length_warmup"):
        plan = plan_of(6, name=name.replace("_", "-"), algorithms=ALGORITHMS[name])
        results[name] = train(plan, folder)
    again = train(plan_of(6, name="again"), folder)
    assert again["loss"] == results["none"]["loss"]
    assert len({values["loss"] for values in results.values()}) == len(results)
    assert results["sequence_length_warmup"]["tokens"] == 6 * BATCH
    # Lengths 16, 24, 40, 48, then all 64 of them.
    assert results["sequence_length_warmup"]["trained_tokens"] == 8 * (16 + 24 + 40 + 48 + 64 + 64)


def test_the_average_is_what_is_evaluated_and_loaded(folder: Path) -> None:
    """With an EMA that hardly moves, held-out loss and loaded weights stay near those where averaging began."""
    slow = [{"kind": "ema", "window": WHOLE, "smoothing": 0.9999, "update_interval_steps": 1}]
    fast = {"kind": "adamw", "lr": 0.03, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}
    plan = plan_of(6, algorithms=slow, training={"optimizer": fast})
    train(plan, folder)
    untrained, averaged = build_untrained(plan).state_dict(), load_trained(plan, layout_of(plan, folder)).state_dict()
    assert all(torch.allclose(untrained[name], averaged[name], atol=1e-4) for name in untrained)
    first, last = metrics(plan, folder)[0]["loss"], metrics(plan, folder)[-1]
    assert last["loss"] < first - 0.2
    assert last["heldout/code/loss"] > first - 0.1


def test_lengths_rise_in_whole_steps_and_end_full() -> None:
    """From 16 to 64 in steps of 8: the length never falls, is a multiple, and is full at the window's end."""
    spec = SequenceLengthWarmupAlgorithm.model_validate(ALGORITHMS["sequence_length_warmup"][0])
    lengths = [sequence_length_warmup.length_at(spec, i / 100) for i in range(101)]
    assert (lengths[0], lengths[50], lengths[99], lengths[100]) == (16, 40, 56, 64)
    assert lengths == sorted(lengths)
    assert all(length % 8 == 0 for length in lengths)


def test_shortened_sequences_are_pieces_of_their_own_sample() -> None:
    """Truncating keeps beginnings; reshaping keeps whole pieces, in order, and never joins two samples."""
    tokens = torch.arange(20).view(2, 10)
    assert sequence_length_warmup.shorten(tokens, 4, truncate=True).tolist() == [[0, 1, 2, 3], [10, 11, 12, 13]]
    assert sequence_length_warmup.shorten(tokens, 4, truncate=False).tolist() == [
        [0, 1, 2, 3], [4, 5, 6, 7], [10, 11, 12, 13], [14, 15, 16, 17],
    ]  # fmt: skip
    assert sequence_length_warmup.shorten(tokens, 10, truncate=True) is tokens


def test_average_and_swap_by_hand() -> None:
    """0.75 * 4 + 0.25 * 8 = 5; swapping exchanges values, not tensors."""
    average, weights = [torch.tensor([4.0])], [torch.tensor([8.0])]
    ema.update(average, weights, 0.75)
    assert average[0].item() == 5.0
    places = average[0].data_ptr(), weights[0].data_ptr()
    ema.swap(average, weights)
    assert (average[0].item(), weights[0].item()) == (8.0, 5.0)
    assert (average[0].data_ptr(), weights[0].data_ptr()) == places


def test_pruning_removes_the_smallest_and_exactly_as_many_as_asked() -> None:
    """Per layer half of each; over all layers half of all; ties are broken by place, not all cut."""
    weights = {"a": torch.tensor([[4.0, -1.0], [2.0, -3.0]]), "b": torch.tensor([[0.1, 0.1, 0.1, 9.0]])}
    layer = pruning.keep_masks(weights, 0.5, "layer")
    assert layer["a"].tolist() == [[True, False], [False, True]]
    assert layer["b"].tolist() == [[False, False, True, True]]
    across = pruning.keep_masks(weights, 0.5, "global")
    assert across["a"].tolist() == [[True, False], [True, True]]
    assert across["b"].tolist() == [[False, False, False, True]]
    assert pruning.sparsity_at(0.8, 0.0) == 0
    assert pruning.sparsity_at(0.8, 0.5) == pytest.approx(0.7)
    assert pruning.sparsity_at(0.8, 1.0) == 0.8


@pytest.mark.parametrize("averaged", [False, True])
def test_pruned_model_keeps_its_sparsity_to_the_end(folder: Path, averaged: bool) -> None:
    """After the window and more steps, half of each linear layer's weights are exactly zero, averaged ones too."""
    plan = plan_of(8, algorithms=[*ALGORITHMS["pruning"], *(ALGORITHMS["ema"] if averaged else [])])
    train(plan, folder)
    trained = load_trained(plan, layout_of(plan, folder))
    shares = {name: (weight == 0).float().mean().item() for name, weight in pruning.prunable(trained).items()}
    assert set(shares.values()) == {0.5}
    assert len(shares) == 7
    assert not (trained.get_input_embeddings().weight == 0).any()


def test_divergence_is_zero_for_equal_logits_and_matches_a_hand_count() -> None:
    """KL([0.5, 0.5] || [0.8, 0.2]) = 0.5 ln(0.5/0.8) + 0.5 ln(0.5/0.2)."""
    student = torch.tensor([[[0.8, 0.2]]]).log()
    teacher = torch.tensor([[[0.5, 0.5]]]).log()
    assert distillation.divergence(student, student, 3.0).item() == pytest.approx(0.0, abs=1e-7)
    assert distillation.divergence(student, teacher, 1.0).item() == pytest.approx(0.2231435, abs=1e-6)
    mixed = distillation.distilled({"total": torch.tensor(4.0)}, torch.tensor(2.0), 0.25)
    assert {name: value.item() for name, value in mixed.items()} == {
        "total": 3.5,
        "cross_entropy": 4.0,
        "distillation": 2.0,
    }


def test_a_teacher_that_is_missing_or_does_not_fit_is_refused(folder: Path) -> None:
    """No such folder, a folder without a model, another vocabulary: each says what to do."""
    missing = plan_of(6, algorithms=[{**ALGORITHMS["distillation"][0], "teacher": "nowhere"}])
    with pytest.raises(DataError, match="no teacher `nowhere`"):
        distillation.build(missing.algorithms[0], missing, layout_of(missing, folder))  # type: ignore[arg-type]
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="can't be loaded"):
        distillation.load_teacher(folder / "empty", 512, 32)
    with pytest.raises(DataError, match="512 tokens, the model 640"):
        distillation.load_teacher(folder / "teacher", 640, 32)


def test_windows_are_half_open_and_know_their_progress() -> None:
    """[100, 300): 100 is in, 300 is out; an empty window is over from the start."""
    window = TokenWindow(100, 300)
    assert [window.contains(t) for t in (99, 100, 299, 300)] == [False, True, True, False]
    assert [window.fraction(t) for t in (0, 100, 200, 300, 900)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert TokenWindow(100, 100).fraction(100) == 1.0
