"""Masks on a model in one piece, and the same ones in FSDP's shards and DDP's copies of two processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import nn

from runtime.algorithms.pruning import masks_of, zeros_of
from runtime.compression.sparsity.masks import Masks, whole_parts
from schemas.techniques.pruning import PruningAlgorithm
from tests.factory import lowered
from tests.recipes import ROOT
from tests.runtime.compression.sparsity import models

SPECS = {
    method: PruningAlgorithm.model_validate(
        lowered(
            {
                "kind": "pruning",
                "method": method,
                "window": {"start_token": 0, "end_token": 0},
                "sparsity": 0.5,
                "scope": "layer",
                "interval_steps": 1,
            }
        )
    )
    for method in ("magnitude", "2:4", "structured")
}


def stepped(model: nn.Module, steps: int) -> Iterator[torch.optim.Optimizer]:
    """AdamW on the loss of one batch, one step after the other: momentum pulls at weights that are gone."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(steps):
        model(input_ids=models.tokens(), labels=models.tokens()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield optimizer


def pruned(model: nn.Module, method: str) -> Masks:
    """Two steps of a slope with training in between, and after it."""
    masks, spec = Masks(), SPECS[method]
    for number, _ in enumerate(stepped(model, 4)):
        if number in (0, 2):
            masks.renew(model, partial(masks_of, spec, sparsity=(0.25, 0.5)[number // 2]))
        else:
            masks.apply(model)
    return masks


@pytest.mark.parametrize("method", SPECS)
def test_momentum_does_not_revive_weights(method: str) -> None:
    """After further steps exactly the masked weights are zero, though the optimizer holds momentum for them."""
    model = models.llama()
    masks = pruned(model, method).whole(model)
    weights = dict(model.named_parameters())
    assert masks
    for name, mask in masks.items():
        assert torch.equal(weights[name] != 0, mask)
        assert 0.4 < 1 - mask.float().mean() < 0.6


def test_masks_of_a_checkpoint_are_held() -> None:
    """Loaded into a model without zeros, they make the same ones; nothing that isn't masked changes."""
    first = models.llama()
    masks = pruned(first, "magnitude").whole(first)
    other, held = models.llama(), Masks()
    before = {name: weight.detach().clone() for name, weight in other.named_parameters()}
    held.load(other, masks)
    for name, weight in other.named_parameters():
        expected = before[name].masked_fill(~masks[name], 0.0) if name in masks else before[name]
        assert torch.equal(weight, expected)
    assert held.whole(other).keys() == masks.keys()


def test_zeros_that_a_model_begins_with_are_held() -> None:
    """Steps of training leave every zero of a pruned model where it was."""
    model = models.llama()
    pruned(model, "magnitude")
    zeros = {name: weight == 0 for name, weight in model.named_parameters()}
    masks = Masks()
    masks.renew(model, lambda modules: zeros_of(SPECS["magnitude"], modules))
    for _ in stepped(model, 2):
        masks.apply(model)
    assert all(torch.equal(weight == 0, zeros[name]) for name, weight in model.named_parameters())


CASES = (("ddp", "magnitude"), ("FULL_SHARD", "magnitude"), ("FULL_SHARD", "structured"), ("SHARD_GRAD_OP", "2:4"))

PROGRAM = """
import sys
import torch
import torch.distributed as dist
from tests.runtime.compression.sparsity.test_masks import CASES, made_by_this_rank

dist.init_process_group("gloo")
made = {case: made_by_this_rank(*case) for case in CASES}
if dist.get_rank() == 0:
    torch.save(made, sys.argv[1])
dist.barrier()
"""

Named = dict[str, torch.Tensor]


def wrapped(kind: str) -> nn.Module:
    """An untied llama, copied or sharded block by block over the ranks."""
    from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    model = models.llama(tie_word_embeddings=False)
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    return FullyShardedDataParallel(
        model,
        auto_wrap_policy=ModuleWrapPolicy({LlamaDecoderLayer}),
        use_orig_params=True,
        sharding_strategy=ShardingStrategy[kind],
        device_id=torch.device("cpu"),
    )


def made_by_this_rank(kind: str, method: str) -> tuple[Named, Named]:
    """Masks and weights after the steps of `pruned`; the ranks' masks are compared here."""
    import torch.distributed as dist

    model = wrapped(kind)
    masks = pruned(model, method)
    whole = masks.whole(model)
    again = Masks()
    again.load(model, whole)
    assert all(torch.equal(mask, again.whole(model)[name]) for name, mask in whole.items())
    ranks: list[Named] = [{}, {}]
    dist.all_gather_object(ranks, whole)
    assert ranks[0].keys() == ranks[1].keys()
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in whole)
    weights: Named = {}
    for modules in whole_parts(model, writeback=False):
        for name in whole:
            layer, _, key = name.rpartition(".")
            if layer in modules:
                weights[name] = modules[layer].get_parameter(key).detach().clone()
    return whole, weights


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[Named, Named]]:
    """What two processes make of every case; started once, since most of their time is the start."""
    target = tmp_path_factory.mktemp("ranks") / "made.pt"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    kept = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
    inherited = {name: value for name, value in os.environ.items() if name in kept}
    ranks = []
    for rank in (0, 1):
        numbers = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(target)]
        environment = {**inherited, **numbers, **place}
        ranks.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate()[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], "\n".join(errors)
    found: dict[tuple[str, str], tuple[Named, Named]] = torch.load(target, weights_only=True)
    return found


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_two_processes_make_the_masks_of_one(
    kind: str, method: str, made: dict[tuple[str, str], tuple[Named, Named]]
) -> None:
    """Shards are ranked as whole layers: the same masks on both ranks, those of one process, and zeros where they say."""
    alone = models.llama(tie_word_embeddings=False)
    expected = pruned(alone, method).whole(alone)
    masks, weights = made[kind, method]
    assert masks.keys() == expected.keys()
    # Sums of two ranks' gradients may round otherwise, and with them the order of two weights of almost one size.
    differing = sum(int((mask != expected[name]).sum()) for name, mask in masks.items())
    assert differing <= 1e-3 * sum(mask.numel() for mask in masks.values())
    assert all(torch.equal(weights[name] != 0, mask) for name, mask in masks.items())
