"""Speed: what must hold for any machine, and the errors on the published runs that the calibration was fitted on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compiler.catalogue import Device, devices
from compiler.estimate.rows.shapes import count_parameters
from compiler.estimate.rows.table import read_rows, workload_of
from compiler.estimate.speed.calibration import RATES, factors, rates_of
from compiler.estimate.speed.predict import class_names, earned, speed
from compiler.estimate.speed.site import GROUPS, Site
from compiler.estimate.speed.work import model_flops_per_token, work_of
from compiler.estimate.workload import Layout, Numerics, Shape, Workload

RUNS = Path(__file__).parents[4] / "benchmarks" / "calibrate" / "runs.csv"
BF16 = Numerics("bf16", 4.0, 2.0, 4.0, 8.0, 4.0)


def _shape(hidden: int, layers: int, vocabulary: int = 32_000) -> Shape:
    heads = max(1, hidden // 128)
    shape = Shape(
        layers, hidden, heads, heads, hidden // heads, 4 * hidden, vocabulary, False, True, 2048, True, parameters=0,
        active_parameters=0,
    )  # fmt: skip
    count = count_parameters(shape)
    return replace(shape, parameters=count, active_parameters=count)


SMALL, MEDIUM, LARGE = _shape(256, 8), _shape(4096, 32), _shape(12_288, 96)


def _device(name: str, **changes: float) -> Device:
    return replace(devices()[name], **changes)  # type: ignore[arg-type]


def _step(shape: Shape = MEDIUM, gpus: int = 8, gpu: str = "h100-sxm-80gb", **changes: object) -> Workload:
    w = Workload(
        shape=shape,
        numerics=BF16,
        layout=Layout(
            devices=gpus, per_node=min(8, gpus), data=gpus, sharding="full" if gpus > 1 else "none", shard_degree=gpus
        ),
        device=_device(gpu),
        sequence_length=2048,
        microbatch=4,
        accumulation=2,
    )
    return replace(w, **changes)  # type: ignore[arg-type]


def _rate(w: Workload) -> float:
    return speed(w).tokens_per_s_per_gpu


@pytest.mark.parametrize("gpu", [name for name in devices() if name != "cpu"])
@pytest.mark.parametrize("shape", [SMALL, MEDIUM, LARGE])
def test_parts_sum_to_the_step_and_lie_within_reason(gpu: str, shape: Shape) -> None:
    w = _step(shape, gpu=gpu)
    found = speed(w)

    assert sum(found.seconds.values()) * found.tokens_per_s_per_gpu == pytest.approx(w.tokens_per_step / 8)
    assert all(seconds >= 0 for seconds in found.seconds.values())
    assert 0 < found.mfu < 1
    assert found.low < found.tokens_per_s_per_gpu < found.high


@pytest.mark.parametrize(
    "improve",
    [
        lambda d: replace(d, memory_bandwidth=d.memory_bandwidth * 2),
        lambda d: replace(d, link_bandwidth=d.link_bandwidth * 2),
        lambda d: replace(d, network_bandwidth=d.network_bandwidth * 2),
        lambda d: replace(d, peak_flops={k: 2 * v for k, v in d.peak_flops.items()}, tdp_watts=d.tdp_watts * 2),
    ],
    ids=["memory", "link", "network", "peak"],
)
@pytest.mark.parametrize("gpus", [1, 8, 256])
@pytest.mark.parametrize("shape", [SMALL, MEDIUM, LARGE])
def test_a_better_device_is_never_slower(improve: Callable[[Device], Device], gpus: int, shape: Shape) -> None:
    w = _step(shape, gpus)

    assert _rate(replace(w, device=improve(w.device))) >= _rate(w) * (1 - 1e-9)


@pytest.mark.parametrize("shape", [SMALL, MEDIUM, LARGE])
def test_longer_samples_cost_more_for_each_token(shape: Shape) -> None:
    rates = [_rate(_step(shape, sequence_length=length, microbatch=65_536 // length)) for length in (512, 4096, 65_536)]

    assert rates == sorted(rates, reverse=True)
    assert rates[2] < 0.8 * rates[0]


def test_recomputing_costs_up_to_a_third() -> None:
    none, selective, full = (_rate(_step(recompute=kind)) for kind in ("none", "selective", "full"))

    assert none > selective > full > none * 0.70


def test_fp8_is_faster_where_products_are_large() -> None:
    fp8 = replace(BF16, compute="fp8")

    assert 1.2 < _rate(_step(LARGE, numerics=fp8)) / _rate(_step(LARGE)) < 2
    assert speed(_step(LARGE, numerics=fp8)).mfu < speed(_step(LARGE)).mfu  # against a peak twice as high


def test_many_devices_are_slower_each_and_one_does_not_talk() -> None:
    assert _rate(_step(gpus=8)) > _rate(_step(gpus=512)) > _rate(_step(gpus=10_000)) > 0
    assert speed(_step(gpus=1)).seconds["communication"] == 0
    assert speed(_step(gpus=10_000)).seconds["communication"] > 0


def test_copies_within_machines_spare_the_network() -> None:
    whole, hybrid = (
        _step(gpus=256, layout=Layout(256, 8, 256, sharding="full", shard_degree=degree)) for degree in (256, 8)
    )

    assert work_of(hybrid).gather_network == 0 < work_of(whole).gather_network
    assert work_of(hybrid).sync_network > work_of(whole).sync_network == 0


def test_pipeline_ends_idle_less_with_more_microbatches_and_chunks() -> None:
    def bubble(accumulation: int, chunks: int) -> float:
        layout = Layout(8, 8, 2, pipeline=4, virtual_stages=chunks)
        seconds = speed(_step(layout=layout, accumulation=accumulation, stack="megatron")).seconds
        return seconds["bubble"] / sum(seconds.values())

    assert bubble(8, 1) > bubble(64, 1) > bubble(64, 4) > 0


def test_ideal_seconds_are_the_papers_flops() -> None:
    """Narayanan et al. 2021, eq. 2 without recomputation and with causal attention: 72 B s l h^2 (1 + s/(12 h) + V/(12 l h))."""
    w = _step(gpus=1, gpu="a100-sxm-80gb")
    s, work = w.shape, work_of(w)
    h, length, layers, vocabulary = s.hidden, w.sequence_length, s.layers, s.vocabulary
    counted = 3 * (work.linear + work.attention + work.head) * 312e12
    causal = 72 * 4 * length * layers * h**2 * (1 + length / (12 * h) + vocabulary / (12 * layers * h))

    assert counted == pytest.approx(causal, rel=1e-9)


def test_model_flops_are_those_of_palm() -> None:
    w = _step()

    assert model_flops_per_token(w) == 6 * w.shape.parameters + 12 * 32 * 4096 * 2048


@pytest.mark.parametrize("parameters", [1e7, 1e9, 1e11, 1e13])
@pytest.mark.parametrize("gpus", [1, 10_000])
def test_sizes_from_ten_million_to_ten_trillion(parameters: float, gpus: int) -> None:
    hidden = 128 * max(2, round((parameters / 12 / 64) ** 0.5 / 128))
    found = speed(_step(_shape(hidden, max(2, round(parameters / 12 / hidden**2))), gpus))

    assert 0 < found.mfu < 0.9
    assert math.isfinite(found.high)


def test_a_device_that_nobody_measured_gets_a_wider_interval() -> None:
    mine = replace(devices()["h100-sxm-80gb"], name="my-gpu", matmul_flops={})
    known, own = speed(_step()), speed(_step(device=mine))

    assert own.tokens_per_s_per_gpu == pytest.approx(known.tokens_per_s_per_gpu, rel=0.3)
    assert own.high / own.low > known.high / known.low
    assert "hopper" not in own.method


def test_software_that_nobody_measured_falls_back_on_the_chip() -> None:
    w = _step(stack="mine")

    assert speed(w).method.startswith("roofline, any software, data-parallel, hopper")


def test_the_method_names_class_and_error() -> None:
    found = earned(_step())

    assert found is not None
    assert found.name == class_names(_step())[0] == "composer, data-parallel, hopper"
    assert f"median error {found.median:.0%}, 90 % within {found.within:.0%}" in speed(_step()).method
    assert speed(_step()).high / speed(_step()).tokens_per_s_per_gpu == pytest.approx(math.exp(found.within))


def test_a_measured_mfu_is_believed() -> None:
    w = _step()
    found = speed(w, measured_mfu=0.33)

    assert found.mfu == pytest.approx(0.33)
    assert found.high / found.tokens_per_s_per_gpu == pytest.approx(1.1)
    free = speed(w).seconds
    ratio = sum(found.seconds.values()) / sum(free.values())
    assert found.seconds == pytest.approx({part: seconds * ratio for part, seconds in free.items()})


def test_a_calibration_stretches_its_parts() -> None:
    w = _step(gpus=64)
    slow = Site(dict.fromkeys(GROUPS, 1.0) | {"communication": 3.0}, runs=9, before=0.2, median=0.05, within=0.1)
    free, found = speed(w), speed(w, site=slow)

    assert found.seconds["communication"] == pytest.approx(3 * free.seconds["communication"])
    assert found.seconds["matmul"] == free.seconds["matmul"]
    assert found.high / found.tokens_per_s_per_gpu == pytest.approx(math.exp(0.1))


def test_techniques_cost_their_flops() -> None:
    w = _step()
    twice = replace(w, extra_flops_per_token=model_flops_per_token(w))

    assert speed(twice).seconds["matmul"] == pytest.approx(2 * speed(w).seconds["matmul"])
    assert speed(twice, measured_mfu=0.4).tokens_per_s_per_gpu == pytest.approx(
        speed(w, measured_mfu=0.4).tokens_per_s_per_gpu / 2
    )


def test_two_cores_train_the_quickstart_in_the_right_order_of_magnitude() -> None:
    """Machine A of docs/log.md: 145 ms for 2048 tokens of a model of a million parameters."""
    shape = replace(_shape(96, 6, 4096), heads=3, kv_heads=3, head_size=32)
    w = Workload(shape, replace(BF16, compute="fp32"), Layout(1, 1, 1), _device("cpu"), 256, 8, 1)
    found = speed(w)

    assert 0.145 / 3 < sum(found.seconds.values()) < 0.145 * 3
    assert found.high / found.low == pytest.approx(9)


def test_every_rate_has_a_guess_and_every_factor_a_rate() -> None:
    names = {key.partition("@")[0] for key in factors()}

    assert names <= set(RATES) | {"power"}
    assert all(0.05 < value < 20 for value in factors().values())
    assert rates_of(_step(), {}).matmul == pytest.approx(RATES["matmul"] * 794.5 / 989.5)


# Weighted median and 90th percentile of |log(predicted/measured)| in benchmarks/calibrate/RESULTS.md (in sample), rounded up.
CLASSES = {
    "composer, data-parallel, ampere": (0.030, 0.15),
    "composer, data-parallel, hopper": (0.030, 0.06),
    "scaling, model-parallel, ampere": (0.060, 0.15),
    "nemo, model-parallel, hopper": (0.045, 0.15),
    "internevo, data-parallel, ampere": (0.045, 0.08),
    "torchtitan, data-parallel, ampere": (0.040, 0.06),
    "megatron-deepspeed, model-parallel, ampere": (0.10, 0.26),
}


@pytest.fixture(scope="module")
def errors() -> list[tuple[Workload, dict[str, str], float, float]]:
    found = []
    for row in read_rows(RUNS):
        w, measured = workload_of(row), row.cells["tokens_per_s_per_gpu"]
        if measured and isinstance(w, Workload):
            error = math.log(speed(w).tokens_per_s_per_gpu / float(measured))
            found.append((w, dict(row.cells), error, float(row.cells["weight"])))
    return found


def _quantile(pairs: list[tuple[float, float]], level: float) -> float:
    """Smallest size that a share of the weight stays below."""
    total, reached = sum(weight for _, weight in pairs), 0.0
    for size, weight in sorted(pairs):
        reached += weight
        if reached >= level * total:
            return size
    return math.inf


@pytest.mark.parametrize("name", CLASSES)
def test_published_runs_of_a_class(name: str, errors: list[tuple[Workload, dict[str, str], float, float]]) -> None:
    pairs = [(abs(error), weight) for w, _, error, weight in errors if class_names(w)[0] == name]

    assert len(pairs) >= 8
    assert _quantile(pairs, 0.5) <= CLASSES[name][0]
    assert _quantile(pairs, 0.9) <= CLASSES[name][1]


def test_published_pretraining_of_tier_a(errors: list[tuple[Workload, dict[str, str], float, float]]) -> None:
    """The mark: median at most 5 %, and within 10 % for 80 %."""
    pairs = [
        (abs(error), weight)
        for _, cells, error, weight in errors
        if cells["tier"] == "A" and cells["task"] == "pretrain"
    ]

    assert len(pairs) > 900
    assert _quantile(pairs, 0.5) <= 0.035
    assert _quantile(pairs, 0.8) <= 0.10


def test_nine_of_ten_published_runs_lie_in_their_interval(
    errors: list[tuple[Workload, dict[str, str], float, float]],
) -> None:
    inside = total = 0.0
    for w, _, error, weight in errors:
        found = earned(w)
        assert found is not None
        inside += weight * (abs(error) <= found.within)
        total += weight

    assert inside / total > 0.9


def test_mfu_counts_what_the_run_needs() -> None:
    """A teacher's forward pass adds to it, frozen weights take 2 of 6 N; a measured figure is the one that comes back."""
    plain, need = _step(), model_flops_per_token(_step())
    taught = replace(plain, extra_flops_per_token=need / 3)
    frozen = replace(plain, numerics=replace(plain.numerics, trainable=0.0))
    share = 1 - 2 * plain.shape.active_parameters / need
    for w, factor in ((plain, 1.0), (taught, 4 / 3), (frozen, share)):
        found = speed(w)
        assert found.mfu == pytest.approx(
            found.tokens_per_s_per_gpu / speed(plain).tokens_per_s_per_gpu * factor * speed(plain).mfu
        )
        assert speed(w, measured_mfu=0.4).mfu == pytest.approx(0.4)
    assert speed(taught, measured_mfu=0.4).tokens_per_s_per_gpu == pytest.approx(
        0.75 * speed(plain, measured_mfu=0.4).tokens_per_s_per_gpu
    )
