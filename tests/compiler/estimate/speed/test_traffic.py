"""Traffic of a step in bytes, on links and on the network, against sums done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.catalogue import devices
from compiler.estimate.speed.traffic import gathers, group_of, local_parameters, sync
from compiler.estimate.workload import Layout, Numerics, Shape, Workload

N = 10_000_000
SHAPE = Shape(10, 512, 4, 4, 128, 2048, 32_000, False, True, 0, False, parameters=N, active_parameters=N)
DEVICE = replace(devices()["a100-sxm-80gb"], link_bandwidth=100.0, network_bandwidth=10.0)


def _step(layout: Layout) -> Workload:
    return Workload(SHAPE, Numerics("bf16", 4.0, 2.0, 4.0, 8.0, 4.0), layout, DEVICE, 2048, 1, 1)


def test_fsdp_gathers_twice_and_scatters_once() -> None:
    """Weights in 16 bits forward and backward, gradients in 32: 8 bytes of each weight, in 10 layers over 15 hops."""
    link, network, messages = gathers(_step(Layout(16, 8, 16, sharding="full", shard_degree=16)), layers=10)

    assert link == pytest.approx(8 * N * 7 / 8 / 100)
    assert network == pytest.approx(8 * N * 8 / 16 / (8 * 10))
    assert messages == 3 * 10 * 15


def test_weights_that_stay_gathered_are_sent_once() -> None:
    link, network, _ = gathers(_step(Layout(8, 8, 8, sharding="gradients", shard_degree=8)), layers=10)

    assert link == pytest.approx(6 * N * 7 / 8 / 100)
    assert network == 0


@pytest.mark.parametrize("sharding", ["none", "optimizer"])
def test_copies_do_not_gather_in_each_microbatch(sharding: str) -> None:
    layout = Layout(8, 8, 8, sharding=sharding, shard_degree=8 if sharding == "optimizer" else 1)  # type: ignore[arg-type]

    assert gathers(_step(layout), layers=10) == (0.0, 0.0, 0.0)


def test_copies_sum_their_gradients_once_a_step() -> None:
    """An all-reduce is a scatter and a gather of 4 bytes; ZeRO-1 gathers the 16-bit weights instead of the gradients."""
    plain = sync(_step(Layout(8, 8, 8)), layers=10)
    sharded = sync(_step(Layout(8, 8, 8, sharding="optimizer", shard_degree=8)), layers=10)

    assert plain[0] == pytest.approx(8 * N * 7 / 8 / 100)
    assert sharded[0] == pytest.approx(6 * N * 7 / 8 / 100)


def test_weights_shared_within_a_machine_come_back_over_its_links() -> None:
    link, network, _ = sync(_step(Layout(16, 8, 16, sharding="optimizer", shard_degree=8)), layers=10)

    assert link == pytest.approx((8 + 2) * N * 7 / 8 / 100)
    assert network == pytest.approx(8 * N * 8 / 16 / (8 * 10))


def test_hybrid_sharding_sums_one_shard_over_machines() -> None:
    link, network, _ = sync(_step(Layout(16, 8, 16, sharding="full", shard_degree=8)), layers=10)

    assert link == 0
    assert network == pytest.approx(8 * N / 8 * 1 / 2 / 10)


def test_tensor_ranks_share_weights_and_leave_each_a_card() -> None:
    w = _step(Layout(16, 8, 2, tensor=8))

    assert local_parameters(w) == N / 8
    assert (group_of(w, 8, 1).near, group_of(w, 2, 8).near) == (8, 1)


def test_experts_lie_on_the_data_axis() -> None:
    shape = replace(SHAPE, experts=8, active_experts=2, parameters=200_000_000, active_parameters=60_000_000)
    experts = 10 * 2 * 512 * 2048 * 8
    whole, spread = (local_parameters(replace(_step(Layout(8, 8, 8, expert=degree)), shape=shape)) for degree in (1, 8))

    assert whole - spread == pytest.approx(experts * 7 / 8)
