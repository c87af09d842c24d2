"""Algorithms: their tensor functions against numbers by hand, and that each of them leaves its mark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.algorithms import ema, sequence_length_warmup
from runtime.models.planned import build_untrained, load_trained
from runtime.window import TokenWindow
from schemas.techniques.sequence_length_warmup import SequenceLengthWarmupAlgorithm
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
    "pruning": [{"kind": "pruning", "window": LATER, "sparsity": 0.5, "scope": "layer", "interval_steps": 1}],
    "distillation": [
        {"kind": "distillation", "window": WHOLE, "teachers": [{"folder": "teacher"}], "temperature": 2.0, "weight": 0.5}
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a teacher that is another tiny model."""
    teacher: Any = build_untrained(plan_of(seed=99))
    teacher.save_pretrained(tmp_path / "teacher")
    return tmp_path


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


def test_windows_are_half_open_and_know_their_progress() -> None:
    """[100, 300): 100 is in, 300 is out; an empty window is over from the start."""
    window = TokenWindow(100, 300)
    assert [window.contains(t) for t in (99, 100, 299, 300)] == [False, True, True, False]
    assert [window.fraction(t) for t in (0, 100, 200, 300, 900)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert TokenWindow(100, 100).fraction(100) == 1.0
