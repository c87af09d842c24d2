"""Low-rank training from trained weights: what becomes of the layers, across interruptions, and what is shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch

from runtime import checkpoint
from runtime.algorithms.low_rank import facts, prepare
from runtime.compression.factors import Factorized, factorized
from runtime.compression.rounded_layers import rounded_layers
from runtime.compression.shipping import counts, load_shipped
from runtime.lineage import plans
from runtime.models.forward import logits_of
from runtime.models.model_files import write_loadable
from runtime.models.planned import build_untrained, initial_model, load_trained
from schemas.plan import RunPlan
from schemas.techniques.low_rank import LowRankAlgorithm
from tests.factory import lowered
from tests.runtime.compression.sparsity import models
from tests.runtime.interruption import interrupted_after
from tests.runtime.training_case import layout_of, plan_of, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MEASURES: dict[str, dict[str, Any]] = {
    "rank": {"rank": 8, "energy": None, "parameters": None},
    "energy": {"rank": None, "energy": 0.6, "parameters": None},
    "parameters": {"rank": None, "energy": None, "parameters": 0.5},
}


def spec_of(measure: str, **changes: Any) -> dict[str, Any]:
    """The algorithm of a plan."""
    window = {"start_token": 0, "end_token": 6 * 512}
    return {"kind": "low_rank", "window": window, "targets": ALL, **MEASURES[measure], **changes}


def start_of(run: str | None = None) -> dict[str, Any]:
    """A start from an earlier run, or from the folder `base`."""
    kind = "folder" if run is None else "run"
    folder = "base" if run is None else None
    return {"kind": kind, "run": run, "fingerprint": None, "folder": folder, "hub": None, "revision": None}


def with_earlier(first: RunPlan, **changes: Any) -> RunPlan:
    """A run that starts from another one."""
    earlier = [json.loads(first.model_dump_json(by_alias=True))]
    last = plan_of(4, name="both", run="two", start=start_of("one"), earlier=earlier, **changes)
    return plans(last)[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with weights to begin with."""
    cast("PreTrainedModel", build_untrained(plan_of(seed=99))).save_pretrained(tmp_path / "base")
    return tmp_path


@pytest.mark.parametrize("measure", MEASURES)
def test_ranks_are_those_of_the_start(folder: Path, measure: str) -> None:
    """Chosen by each measure from the weights to begin with, and read back from the checkpoint's shapes."""
    plan = plan_of(6, start=start_of(), algorithms=[spec_of(measure)])
    train(plan, folder)
    ranks = {name: layer.rank for name, layer in factorized(load_trained(plan, layout_of(plan, folder)))}
    started = {name: layer.rank for name, layer in factorized(initial_model(plan, layout_of(plan, folder)))}
    assert ranks == started
    # Break-even is 15 for 32 x 32 and 21 for 32 x 64; half of the weights are rank 8 and 10.
    expected = {"rank": {8}, "parameters": {8, 10}}.get(measure)
    assert set(ranks.values()) == expected if expected else max(ranks.values()) <= 21
    assert len(ranks) == 7 if measure != "energy" else len(ranks) > 0


def test_layers_that_would_not_be_smaller_stay_whole(folder: Path) -> None:
    """Rank 16 saves nothing of 32 x 32 (break-even 15), and something of 32 x 64."""
    plan = plan_of(6, start=start_of(), algorithms=[spec_of("rank", rank=16)])
    names = {name.rpartition(".")[2] for name, _ in factorized(initial_model(plan, layout_of(plan, folder)))}
    assert names == {"gate_proj", "up_proj", "down_proj"}


def test_it_begins_with_the_closest_weights_and_not_with_others(folder: Path) -> None:
    """At a high rank logits stay near those of the start; at rank 1 they don't; both differ from the whole model's."""
    batch = {"input_ids": torch.arange(64).view(2, 32)}
    whole = build_untrained(plan_of(seed=99)).eval()
    errors = []
    for rank in (15, 1):
        plan = plan_of(6, start=start_of(), algorithms=[spec_of("rank", rank=rank)])
        model = initial_model(plan, layout_of(plan, folder)).eval()
        with torch.no_grad():
            errors.append((logits_of(model, batch) - logits_of(whole, batch)).abs().mean().item())
    assert 0 < errors[0] < 0.7 * errors[1]


def test_the_shipped_model_keeps_factors_and_its_folder_loads_anywhere(folder: Path) -> None:
    """Fewer parameters; in the folder ordinary weights of that rank, which compute the same, and the factors beside them."""
    from transformers import AutoModelForCausalLM

    plan = plan_of(6, start=start_of(), algorithms=[spec_of("parameters")])
    train(plan, folder)
    small = load_shipped(plan, layout_of(plan, folder))
    # 32 x 32 to rank 8, 32 x 64 to rank 10.
    saved = 4 * (32 * 32 - 8 * 64) + 3 * (32 * 64 - 10 * 96)
    assert counts(small)[0] == plan.model.num_parameters - saved
    spec = plan.algorithms[0]
    assert isinstance(spec, LowRankAlgorithm)
    assert facts(spec, small) == {"layers": 7, "smallest_rank": 8, "largest_rank": 10}
    target = folder / "written"
    target.mkdir()
    write_loadable(small, target, plan)
    loaded = AutoModelForCausalLM.from_pretrained(target).eval()
    batch = {"input_ids": torch.arange(64).view(2, 32)}
    with torch.no_grad():
        assert (logits_of(loaded, batch) - logits_of(small.eval(), batch)).abs().max() < 1e-5
    layer = loaded.model.layers[0].mlp.up_proj.weight
    assert int(torch.linalg.matrix_rank(layer.detach(), rtol=1e-4)) == 10


def test_a_run_from_factors_trains_and_ships_them(folder: Path) -> None:
    """They stay factors of the same ranks, and the checkpoint of the second run is read into them."""
    one = plan_of(6, name="both-one", run="one", start=start_of(), algorithms=[spec_of("energy")])
    two = with_earlier(one, algorithms=[spec_of("energy", hold=True)])
    train(one, folder)
    with interrupted_after(2):
        assert train(two, folder)["status"] == "interrupted"
    train(two, folder)
    ranks = [
        {name: layer.rank for name, layer in factorized(load_trained(p, layout_of(p, folder)))} for p in (one, two)
    ]
    assert ranks[0] == ranks[1] != {}
    found = checkpoint.latest(layout_of(two, folder).checkpoints, two)
    assert found is not None
    assert any(name.endswith("up_proj.down.weight") for name in found.state["state"]["model"])


def test_convolutions_become_a_thin_one_and_a_pointwise_one() -> None:
    """Those of residual blocks; the first convolution, projections and the output layer stay."""
    model = models.resnet(bottleneck=True)
    spec = LowRankAlgorithm.model_validate(
        spec_of("parameters", targets=["conv1", "conv2", "conv3"], hold=False, removes=[])
    )
    image = torch.randn(2, 3, 32, 32)
    before = model(image)
    prepare(spec, model, plan_of(), None)
    assert {name.rpartition(".")[2] for name, _ in factorized(model)} == {"conv1", "conv2", "conv3"}
    assert len(list(factorized(model))) == 12
    assert not isinstance(model.conv1, Factorized)
    after = model(image)
    assert after.shape == before.shape
    assert 0 < (after - before).abs().mean() < before.abs().mean()


def test_factors_are_pruned_and_rounded_in_the_run_after(folder: Path) -> None:
    """Zeros of factors are held, both factors are rounded, ranks are still told, and the folder computes what is shipped."""
    from transformers import AutoModelForCausalLM

    window = {"start_token": 0, "end_token": 3 * 512}
    pruning: dict[str, Any] = {
        "kind": "pruning",
        "window": window,
        "sparsity": 0.5,
        "scope": "layer",
        "interval_steps": 1,
    }
    qat: dict[str, Any] = {
        "kind": "quantization", "window": {"start_token": 0, "end_token": 4 * 512}, "mode": "qat", "weights": "int8",
        "granularity": "channel", "group_size": None, "activations": "none", "exclude": [],
    }  # fmt: skip
    one = plan_of(6, name="both-one", run="one", start=start_of(), algorithms=[spec_of("rank"), pruning])
    held = {**pruning, "schedule": "hold"}
    two = with_earlier(one, algorithms=[spec_of("rank", hold=True), held, qat])
    train(one, folder)
    with interrupted_after(2):
        assert train(two, folder)["status"] == "interrupted"
    train(two, folder)
    trained = load_trained(two, layout_of(two, folder))
    zeros = (cast("torch.Tensor", layer.down.weight).eq(0).float().mean() for _, layer in factorized(trained))
    assert {float(share) for share in zeros} == {0.5}
    small = load_shipped(two, layout_of(two, folder)).eval()
    assert len(rounded_layers(small)) == 14
    spec = two.algorithms[0]
    assert isinstance(spec, LowRankAlgorithm)
    assert facts(spec, small) == {"layers": 7, "smallest_rank": 8, "largest_rank": 8}
    batch = {"input_ids": torch.arange(64).view(2, 32)}
    expected = logits_of(small, batch)
    (folder / "written").mkdir()
    write_loadable(small, folder / "written", two)
    loaded = AutoModelForCausalLM.from_pretrained(folder / "written").eval()
    assert (logits_of(loaded, batch) - expected).abs().max() < 1e-5


STRUCTURED: dict[str, Any] = {
    "kind": "pruning", "window": {"start_token": 0, "end_token": 3 * 512}, "method": "structured", "sparsity": 0.5,
    "scope": "layer", "interval_steps": 1,
}  # fmt: skip
GPT2 = {"family": "gpt2", "num_parameters": 27_040, "num_embedding_parameters": 18_432, "intermediate_size": 64}


def three_runs(model: dict[str, Any], **spec: Any) -> tuple[RunPlan, ...]:
    """Channels and heads are emptied, what is left becomes factors, and these are trained on."""
    targets = ["c_attn", "c_proj", "c_fc"] if model else ALL
    thin = spec_of("parameters", targets=targets, removes=[lowered(STRUCTURED)], **spec)
    one = plan_of(5, name="all-one", run="one", model=model, algorithms=[STRUCTURED])
    earlier = [json.loads(one.model_dump_json(by_alias=True))]
    two = plan_of(
        4, name="all-two", run="two", model=model, start=start_of("one"), earlier=earlier, algorithms=[thin]
    ).model_copy(update={"earlier": ()})
    earlier.append(json.loads(two.model_dump_json(by_alias=True)))
    kept = {**thin, "hold": True}
    last = plan_of(3, name="all", run="three", model=model, start=start_of("two"), earlier=earlier, algorithms=[kept])
    return plans(last)


@pytest.mark.parametrize("model", [{}, GPT2], ids=["llama", "gpt2"])
def test_factors_of_what_pruning_left_have_its_sizes(folder: Path, model: dict[str, Any]) -> None:
    """From the first step on; resumed it is undisturbed, and a run after it goes on with them."""
    from transformers import AutoModelForCausalLM

    one, two, three = three_runs(model)
    train(one, folder)
    other = two.model_copy(update={"name": "other"})
    straight = train(two, folder)
    with interrupted_after(2):
        assert train(other, folder)["status"] == "interrupted"
    assert train(other, folder)["loss"] == straight["loss"]
    left, right = (load_trained(p, layout_of(p, folder)) for p in (two, other))
    assert all(torch.equal(weight, right.state_dict()[name]) for name, weight in left.state_dict().items())
    train(three, folder)
    small = load_shipped(three, layout_of(three, folder)).eval()
    sizes = {name.rpartition(".")[2]: tuple(layer.product.shape) for name, layer in factorized(small)}
    # One of two heads of 16, and 32 of 64 channels.
    llama = {"q_proj": (16, 32), "o_proj": (32, 16), "up_proj": (32, 32), "down_proj": (32, 32)}
    expected = {"c_attn": (32, 48), "c_fc": (32, 32)} if model else llama
    assert expected.items() <= sizes.items()
    (folder / "written").mkdir()
    write_loadable(small, folder / "written", three)
    loaded = AutoModelForCausalLM.from_pretrained(folder / "written").eval()
    batch = {"input_ids": torch.arange(64).view(2, 32)}
    with torch.no_grad():
        assert (logits_of(loaded, batch) - logits_of(small, batch)).abs().max() < 1e-5


def test_factors_begin_where_pruning_ended(folder: Path) -> None:
    """At nearly full ranks the first model of the second run computes nearly what the first run's last does."""
    batch = {"input_ids": torch.arange(64).view(2, 32)}
    one, two, _ = three_runs({}, parameters=0.99)
    train(one, folder)
    expected = logits_of(load_trained(one, layout_of(one, folder)).eval(), batch)
    begun = initial_model(two, layout_of(two, folder)).eval()
    difference = (logits_of(begun, batch) - expected).abs().mean()
    two, _ = three_runs({}, parameters=0.1)[1:]
    far = (logits_of(initial_model(two, layout_of(two, folder)).eval(), batch) - expected).abs().mean()
    assert 0 < difference < 0.5 * far
