"""Fake quantisation where each device holds a part of the weights: it rounds what FSDP has gathered, so groups stay whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import distributed

from runtime.compression.rounded_layers import FakeRounding, roundable
from runtime.compression.rounding import INT4, Rounding
from runtime.models.planned import build_untrained
from tests.runtime.training_case import plan_of

STEPS = 3


def losses(*, sharded: bool) -> list[float]:
    """Of three steps with weights in int4; each rank sees the same batch."""
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    model: torch.nn.Module = build_untrained(plan_of())
    for layer in roundable(model, ()).values():
        FakeRounding(layer, Rounding(INT4, "group", 16, activations=False)).install()
    if sharded:
        model = FullyShardedDataParallel(
            model,
            auto_wrap_policy=ModuleWrapPolicy({LlamaDecoderLayer}),
            use_orig_params=True,
            device_id=torch.device("cpu"),
        )
    for rounding in FakeRounding.all_of(model):
        rounding.active = True
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    ids = torch.arange(64).view(2, 32) * 3 % 512
    found = []
    for _ in range(STEPS):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


def test_sharded_weights_are_rounded_as_whole_ones(tmp_path: Path) -> None:
    """Two processes that share the weights compute the losses of one that has them all, bit for bit."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "NODE_RANK")}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "tests.runtime.algorithms.test_quantization_sharded", str(tmp_path / "losses.json")],
        env={**inherited, "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "losses.json").read_text())
    assert len(found["whole"]) == STEPS
    assert found["whole"][2] < found["whole"][0]
    assert found["sharded"] == found["whole"]


def main() -> None:
    """Both trainings in one process group; the first rank writes their losses."""
    distributed.init_process_group("gloo")
    found = {"whole": losses(sharded=False), "sharded": losses(sharded=True)}
    if distributed.get_rank() == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
