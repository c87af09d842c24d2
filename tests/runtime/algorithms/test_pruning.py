"""Pruning in a real Trainer: when it acts, what it leaves, across interruptions, and in the runs after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from composer.core import Event, State
from composer.loggers import Logger

from runtime.algorithms import facts, ship
from runtime.algorithms.pruning import HeldZeros, PrunedWeights, build
from runtime.compression.shipping import counts, load_shipped
from runtime.compression.sparsity.layers import prunable
from runtime.errors import RunFailed
from runtime.lineage import plans
from runtime.models.forward import logits_of
from runtime.models.planned import load_trained
from schemas.plan import RunPlan
from tests.runtime.interruption import interrupted_after
from tests.runtime.training_case import layout_of, metrics, plan_of, train

BATCH = 512
SPEC: dict[str, Any] = {
    "kind": "pruning", "window": {"start_token": 2 * BATCH, "end_token": 5 * BATCH}, "sparsity": 0.5, "scope": "layer",
    "interval_steps": 1,
}  # fmt: skip
HOLD = {**SPEC, "schedule": "hold", "window": {"start_token": 0, "end_token": 0}}
EMA = {
    "kind": "ema", "window": {"start_token": 2 * BATCH, "end_token": 6 * BATCH}, "smoothing": 0.7, "update_interval_steps": 1,
}  # fmt: skip
GPT2 = {"family": "gpt2", "num_parameters": 27_040, "num_embedding_parameters": 18_432, "intermediate_size": 64}
KINDS: dict[str, dict[str, Any]] = {
    "magnitude": {"initial": 0.2},
    "global": {"scope": "global", "schedule": "linear"},
    "2:4": {"method": "2:4"},
    "structured": {"method": "structured", "norm": "l2"},
    "oneshot": {"schedule": "oneshot", "window": {"start_token": 2 * BATCH, "end_token": 2 * BATCH}},
    "from the first step on": {"schedule": "oneshot", "window": {"start_token": 0, "end_token": 0}},
    "spared": {"exclude": ["down_proj", "model.layers.*.q_proj"], "targets": "all"},
    "mlp": {"targets": "mlp"},
}


def zeros(plan: RunPlan, folder: Path) -> dict[str, torch.Tensor]:
    """Where the finished model's layers are zero."""
    modules = dict(load_trained(plan, layout_of(plan, folder)).named_modules())
    return {name: layer.weight == 0 for name, layer in prunable(modules).items()}  # type: ignore[misc]


@pytest.mark.parametrize("kind", KINDS)
def test_the_chosen_share_of_the_chosen_layers_is_zero(tmp_path: Path, kind: str) -> None:
    """Half of each chosen layer at the end, or of all of them together; the others are whole."""
    plan = plan_of(7, algorithms=[{**SPEC, **KINDS[kind]}])
    train(plan, tmp_path)
    shares = {name: mask.float().mean().item() for name, mask in zeros(plan, tmp_path).items()}
    if kind == "global":
        counted = zeros(plan, tmp_path).values()
        assert sum(int(mask.sum()) for mask in counted) == sum(mask.numel() for mask in counted) // 2
        assert len(set(shares.values())) > 1
    else:
        spared = {"spared": ("down_proj", "q_proj"), "mlp": ("self_attn",)}.get(kind, ())
        expected = {name: 0.0 if any(part in name for part in spared) else 0.5 for name in shares}
        assert shares == expected


def test_masks_are_made_at_the_steps_of_the_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window from batch 2 to 8 in steps of 3: after batches 2, 5 and 8, with the cubic's values."""
    seen: list[tuple[int, float]] = []
    original = PrunedWeights._renew

    def spied(self: PrunedWeights, event: Event, state: State, logger: Logger) -> bool:
        done = original(self, event, state, logger)
        if done:
            seen.append((int(state.timestamp.batch), self.sparsity(int(state.timestamp.batch))))
        return done

    monkeypatch.setattr(PrunedWeights, "_renew", spied)
    window = {"start_token": 2 * BATCH, "end_token": 8 * BATCH}
    train(plan_of(9, algorithms=[{**SPEC, "window": window, "interval_steps": 3, "initial": 0.1}]), tmp_path)
    assert seen == [(2, 0.1), (5, pytest.approx(0.45)), (8, 0.5)]


def test_a_run_of_one_step_ends_pruned(tmp_path: Path) -> None:
    """Nothing is gone before the step, and half after it."""
    window = {"start_token": 0, "end_token": BATCH}
    plan = plan_of(1, algorithms=[{**SPEC, "window": window}])
    train(plan, tmp_path)
    assert {mask.float().mean().item() for mask in zeros(plan, tmp_path).values()} == {0.5}


@pytest.mark.parametrize("method", ["magnitude", "structured"])
def test_an_average_is_pruned_like_the_weights(tmp_path: Path, method: str) -> None:
    """It remembers weights from before they went; embeddings are never touched."""
    plan = plan_of(8, algorithms=[{**SPEC, "method": method}, EMA])
    train(plan, tmp_path)
    assert {mask.float().mean().item() for mask in zeros(plan, tmp_path).values()} == {0.5}
    trained = load_trained(plan, layout_of(plan, tmp_path))
    assert not (trained.state_dict()["model.embed_tokens.weight"] == 0).any()


def test_the_shipped_model_is_smaller_and_computes_the_same(tmp_path: Path) -> None:
    """Half of the channels and one of the two heads are gone: 7 matrices of half their size, logits to 1e-5."""
    plan = plan_of(6, algorithms=[{**SPEC, "method": "structured"}])
    train(plan, tmp_path)
    layout = layout_of(plan, tmp_path)
    trained, small = load_trained(plan, layout), load_shipped(plan, layout)
    batch = {"input_ids": torch.arange(64).view(2, 32)}
    with torch.no_grad():
        assert (logits_of(trained.eval(), batch) - logits_of(small.eval(), batch)).abs().max() < 1e-5
    removed = counts(trained)[0] - counts(small)[0]
    assert removed == (4 * 32 * 32 + 3 * 64 * 32) // 2
    config: Any = small.config
    assert (config.intermediate_size, config.num_attention_heads) == (32, 1)


@pytest.mark.parametrize(("targets", "heads", "channels"), [("all", 1, 32), ("mlp", 2, 32), ("attention", 1, 64)])
def test_gpt2_loses_channels_and_heads_with_their_biases(
    tmp_path: Path, targets: str, heads: int, channels: int
) -> None:
    """Weights, biases, and rows of what reads them; logits as before."""
    spec = {**SPEC, "method": "structured", "targets": targets}
    plan = plan_of(6, model=GPT2, algorithms=[spec])
    train(plan, tmp_path)
    trained, small = load_trained(plan, layout_of(plan, tmp_path)), load_shipped(plan, layout_of(plan, tmp_path))
    batch = {"input_ids": torch.arange(64).view(2, 32)}
    with torch.no_grad():
        assert (logits_of(trained.eval(), batch) - logits_of(small.eval(), batch)).abs().max() < 1e-5
    # Each channel has 2 x 32 weights and a bias; a head of 16 has 4 x 32 x 16 weights and 3 x 16 biases.
    removed = (64 - channels) * (2 * 32 + 1) + (2 - heads) * (4 * 32 * 16 + 3 * 16)
    assert counts(trained)[0] - counts(small)[0] == removed
    told = facts(plan, small)["pruning"]
    assert (told["num_attention_heads"], told["n_inner"]) == (heads, channels)


def two_runs(method: str, second: list[dict[str, Any]]) -> tuple[RunPlan, RunPlan]:
    """A pruned run, and one that starts from it."""
    first = plan_of(6, name="both-one", run="one", algorithms=[{**SPEC, "method": method}])
    start = {"kind": "run", "run": "one", "fingerprint": "0" * 64, "folder": None, "hub": None, "revision": None}
    last = plan_of(
        4,
        name="both",
        run="two",
        start=start,
        algorithms=second,
        earlier=[json.loads(first.model_dump_json(by_alias=True))],
    )
    found = plans(last)
    return found[0], found[1]


@pytest.mark.parametrize("method", ["magnitude", "structured"])
def test_a_run_from_a_pruned_one_keeps_its_zeros(tmp_path: Path, method: str) -> None:
    """After four more steps exactly the same weights are zero, also across an interruption."""
    one, two = two_runs(method, [{**HOLD, "method": method}])
    train(one, tmp_path)
    with interrupted_after(2):
        assert train(two, tmp_path)["status"] == "interrupted"
    train(two, tmp_path)
    before, after = zeros(one, tmp_path), zeros(two, tmp_path)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_without_holding_zeros_come_back(tmp_path: Path) -> None:
    """What the test above compares with: four steps of a plain run revive nearly all."""
    one, two = two_runs("magnitude", [])
    train(one, tmp_path)
    train(two, tmp_path)
    assert max(mask.float().mean().item() for mask in zeros(two, tmp_path).values()) < 0.01


def test_more_is_pruned_from_what_is_pruned(tmp_path: Path) -> None:
    """Half in the first run, three quarters in the second: the first half stays gone at every step in between."""
    further = {**SPEC, "window": {"start_token": BATCH, "end_token": 3 * BATCH}, "sparsity": 0.75}
    one, two = two_runs("magnitude", [HOLD, further])
    train(one, tmp_path)
    train(two, tmp_path)
    before, after = zeros(one, tmp_path), zeros(two, tmp_path)
    assert {mask.float().mean().item() for mask in after.values()} == {0.75}
    assert all((after[name] | ~before[name]).all() for name in before)


def test_a_run_from_one_without_channels_ships_without_them(tmp_path: Path) -> None:
    """What is taken out is what is zero, whichever run made it so."""
    one, two = two_runs("structured", [{**HOLD, "method": "structured"}])
    train(one, tmp_path)
    train(two, tmp_path)
    sizes = [counts(load_shipped(plan, layout_of(plan, tmp_path)))[0] for plan in (one, two)]
    assert sizes[0] == sizes[1] < one.model.num_parameters


def test_a_pattern_that_names_nothing_stops_the_run_at_its_start(tmp_path: Path) -> None:
    """A plan may come from elsewhere; what was meant to be spared is not pruned in silence."""
    with pytest.raises(RunFailed, match="names no layer that is pruned"):
        train(plan_of(6, algorithms=[{**SPEC, "exclude": ["layers.7.mlp"]}]), tmp_path)


def test_a_ranking_of_all_layers_needs_whole_weights(tmp_path: Path) -> None:
    """FSDP's shards are gathered a unit at a time, which is enough for rankings inside layers."""
    layout = {"strategy": "fsdp", "sharding": "full", "shard_degree": 2, "devices": 2}
    plans_ = {
        scope: plan_of(6, parallelism=layout, algorithms=[{**SPEC, "scope": scope}]) for scope in ("layer", "global")
    }
    specs = {scope: plan.algorithms[0] for scope, plan in plans_.items()}
    assert isinstance(build(specs["layer"], plans_["layer"], layout_of(plans_["layer"], tmp_path)), PrunedWeights)  # type: ignore[arg-type]
    with pytest.raises(RunFailed, match="ranks the weights of all layers at once"):
        build(specs["global"], plans_["global"], layout_of(plans_["global"], tmp_path))  # type: ignore[arg-type]
    held = plan_of(6, algorithms=[HOLD])
    assert isinstance(build(held.algorithms[0], held, layout_of(held, tmp_path)), HeldZeros)  # type: ignore[arg-type]


def test_single_zeros_are_shipped_as_they_are(tmp_path: Path) -> None:
    """Nothing can be taken out of a matrix with holes."""
    plan = plan_of(6, algorithms=[SPEC])
    train(plan, tmp_path)
    trained = load_trained(plan, layout_of(plan, tmp_path))
    before = {name: weight.clone() for name, weight in trained.state_dict().items()}
    assert all(torch.equal(weight, before[name]) for name, weight in ship(plan, trained).state_dict().items())


def test_metrics_go_on_while_it_prunes(tmp_path: Path) -> None:
    """One line a step, none without a number."""
    plan = plan_of(6, algorithms=[SPEC])
    train(plan, tmp_path)
    assert [line["step"] for line in metrics(plan, tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert all(line["loss"] is not None for line in metrics(plan, tmp_path))
