"""Layouts of a plan as Composer's FSDP gets them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from runtime import build
from runtime.errors import RunFailed
from schemas.plan import RunPlan
from tests.recipes import ROOT
from tests.runtime.training_case import plan_of


def laid(sharding: str, degree: int, replicas: int, **changes: Any) -> RunPlan:
    """A plan for 16 GPUs of two machines."""
    layout = {
        "strategy": "fsdp" if sharding != "none" else "ddp",
        "sharding": sharding,
        "shard_degree": degree,
        "replicas": replicas,
        "devices": 16,
        "nodes": 2,
    }
    return plan_of(parallelism=layout, hardware={"gpu": "h100-sxm-80gb", "count": 16, "per_node": 8}, **changes)


@pytest.fixture
def on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torch saw GPUs, and 16 processes had been started."""
    monkeypatch.setattr(build, "device_kind", lambda plan: "gpu")
    monkeypatch.setenv("WORLD_SIZE", "16")


@pytest.mark.usefixtures("on_gpus")
@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (("none", 1, 16), None),
        (("full", 16, 1), {"sharding_strategy": "FULL_SHARD", "data_parallel_shard_degree": 16}),
        (("gradients", 16, 1), {"sharding_strategy": "SHARD_GRAD_OP", "data_parallel_shard_degree": 16}),
        (
            ("full", 8, 2),
            {
                "sharding_strategy": "FULL_SHARD",
                "data_parallel_shard_degree": 8,
                "data_parallel_replicate_degree": 2,
            },
        ),
    ],
)
def test_each_layout_becomes_its_settings(layout: tuple[str, int, int], expected: dict[str, Any] | None) -> None:
    """What is shared, over how many devices, how many copies; nothing is left to Composer's defaults that differs."""
    from composer.utils.parallelism import FSDPConfig

    found = build.parallelism(laid(*layout))
    if expected is None:
        assert found is None
        return
    assert found is not None
    settings = found["fsdp"]
    assert expected.items() <= settings.items()
    assert ("data_parallel_replicate_degree" in settings) == (layout[2] > 1)
    # Composer sets whatever it is given: a misspelt key would be ignored in silence.
    assert set(settings) <= {field.name for field in dataclasses.fields(FSDPConfig)}


@pytest.mark.usefixtures("on_gpus")
@pytest.mark.parametrize(
    ("planned", "started", "expected"),
    [((16, 1), 8, (8, 1)), ((16, 1), 32, (16, 2)), ((8, 2), 8, (8, 1)), ((8, 2), 24, (8, 3)), ((8, 2), 12, (12, 1))],
)
def test_groups_fit_the_processes_that_were_started(
    planned: tuple[int, int], started: int, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may go on on fewer or more devices; a mesh that doesn't cover all of them would train on some alone."""
    monkeypatch.setenv("WORLD_SIZE", str(started))
    found = build.parallelism(laid("full", *planned))
    assert found is not None
    settings = found["fsdp"]
    groups = (settings["data_parallel_shard_degree"], settings.get("data_parallel_replicate_degree", 1))
    assert groups == expected


def test_ranks_wait_as_long_as_a_large_checkpoint_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """70B parameters: 12 bytes each, written and hashed at 0.5 GB/s by the first rank, while the others wait."""
    given: list[float] = []
    monkeypatch.setattr("composer.utils.dist.initialize_dist", lambda device, timeout=300.0: given.append(timeout))
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("NODE_RANK", "0")
    build.join_ranks(laid("none", 1, 16))
    assert given[0] > 70e9 * 12 / 0.5e9


@pytest.mark.usefixtures("on_gpus")
def test_weights_are_gathered_in_bf16_and_buffers_stay_exact() -> None:
    """Gradients are summed as the plan says; rotary frequencies in bf16 would be off by radians far into a sequence."""
    found = build.parallelism(laid("full", 16, 1, precision={"compute": "bf16", "reduce": "bf16"}))
    assert found is not None
    assert found["fsdp"]["mixed_precision"] == {"param_dtype": "bf16", "buffer_dtype": "fp32", "reduce_dtype": "bf16"}


def test_sharding_without_gpus_is_refused() -> None:
    """Where torch sees none, before anything is built."""
    with pytest.raises(RunFailed, match="shards the model over GPUs"):
        build.parallelism(laid("full", 16, 1))


MESH = """
import torch.distributed as torch_dist
from composer.core.state import _create_device_mesh
from composer.devices import DeviceCPU
from composer.utils.parallelism import FSDPConfig
from runtime import build
from torch.testing._internal.distributed.fake_pg import FakeStore
from tests.runtime.test_sharding import laid

build.device_kind = lambda plan: "gpu"
torch_dist.init_process_group("fake", store=FakeStore(), rank=11, world_size=16)
for degree, replicas in ((16, 1), (8, 2), (4, 4)):
    settings = build.parallelism(laid("full", degree, replicas))["fsdp"]
    mesh = _create_device_mesh(DeviceCPU(), FSDPConfig(**settings), None)
    group = torch_dist.get_process_group_ranks(mesh.get_group(mesh.mesh_dim_names[-1]))
    print(tuple(mesh.mesh.shape), group[0], group[-1], len(group))
"""


def test_groups_are_neighbours_inside_a_machine() -> None:
    """Composer's own mesh: rank 11 of 16 shares with all, with its machine's eight, with four of them."""
    command = [sys.executable, "-W", "ignore", "-c", MESH]
    environment = {
        "PATH": "",
        "RANK": "11",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "3",
        "LOCAL_WORLD_SIZE": "8",
        "NODE_RANK": "1",
    }
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["(16,) 0 15 16", "(2, 8) 8 15 8", "(4, 4) 8 11 4"]
