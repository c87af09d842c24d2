"""Wall-clock, money and energy of whole plans: parts that sum, intervals, edges of size and price."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.diagnostics import Severity
from schemas.plan import Estimate, RunPlan
from tests.recipes import GALLERY, MINIMAL, compile_text, plan_text

PARTS = ["startup", "prepare", "training", "evaluation", "checkpoints", "restarts"]
LARGE = (
    "model={size: 7B}",
    "budget={tokens: 140B tok}",
    "data.sequence_length=4096",
    "data.sources={web: {mds: s3://corpus/web, tokens: 200B tok}}",
)


def large(folder: Path, *overrides: str) -> RunPlan:
    """A 7B model on ready-made shards, 64 H100 unless said otherwise."""
    hardware = (
        () if any(o.startswith("hardware=") for o in overrides) else ("hardware={gpu: h100-sxm-80gb, count: 64}",)
    )
    return plan_text(MINIMAL, folder, *LARGE, *hardware, *overrides)


@pytest.mark.parametrize("recipe", GALLERY, ids=lambda path: path.stem)
def test_parts_sum_to_the_whole(recipe: Path) -> None:
    """Time, money, memory and the length of a step, each by its parts; steps of the graph too; intervals enclose."""
    from compiler.pipeline import compile_recipe

    plan = compile_recipe(recipe).expect()
    e = plan.estimate
    assert list(e.time_parts) == list(e.usd_parts) == PARTS
    assert sum(e.time_parts.values()) == pytest.approx(e.hours * 3600)
    assert sum(step.seconds for step in plan.steps) == pytest.approx(e.hours * 3600)
    assert sum(e.usd_parts.values()) == pytest.approx(e.usd)
    assert sum(e.memory_parts.values()) == e.peak_memory_bytes <= e.memory_limit_bytes
    step = plan.training.global_batch_tokens / (e.tokens_per_s_per_gpu * plan.hardware.count)
    assert sum(e.step_parts.values()) == pytest.approx(step)
    assert e.time_parts["training"] == pytest.approx(step * plan.training.steps)
    for name in ("hours", "usd", "tokens_per_s_per_gpu", "peak_memory_bytes"):
        low, middle, high = (getattr(e, f"{name}{bound}") for bound in ("_low", "", "_high"))
        assert low <= middle <= high, name
    assert e.lifetime_usd == pytest.approx(e.usd + e.inference_usd)
    assert e.lifetime_usd == pytest.approx(plan.budget.lifetime_usd)


def test_money_is_held_hours_by_devices_by_price(tmp_path: Path) -> None:
    """Preparing holds no device; the interval of dollars is that of the hours, at one price."""
    plan = large(tmp_path, "hardware={gpu: h100-sxm-80gb, count: 64, price: $2/gpu-hour}")
    e = plan.estimate
    held = sum(seconds for name, seconds in e.time_parts.items() if name != "prepare") / 3600
    assert e.usd_parts["prepare"] == 0
    assert e.usd == pytest.approx(held * 64 * 2)
    assert e.energy_kwh == pytest.approx(held * 64 * 0.7 * 1.1)
    assert e.co2e_kg == pytest.approx(e.energy_kwh * 0.473)
    catalogue = large(tmp_path).estimate
    assert catalogue.usd_high / catalogue.usd == pytest.approx(e.usd_high / e.usd)


def test_failures_and_checkpoints_take_time(tmp_path: Path) -> None:
    """Machines that fail daily lose more than those of the catalogue; rarer checkpoints save time and lose more."""

    def with_mtbf(hours: int, *more: str) -> RunPlan:
        return large(tmp_path, f"hardware={{gpu: h100-sxm-80gb, count: 64, mtbf: {hours}h}}", *more)

    usual, daily = with_mtbf(6000).estimate.time_parts, with_mtbf(24).estimate.time_parts
    assert daily["restarts"] > 10 * usual["restarts"] > 0
    rare = with_mtbf(24, "checkpoints.interval=0.2dur").estimate.time_parts
    assert rare["restarts"] > 2 * daily["restarts"]
    assert rare["checkpoints"] < daily["checkpoints"]


def test_a_better_interval_is_named_and_is_better(tmp_path: Path) -> None:
    """RC305 gives the interval of Young; with it the warning is gone and the run is shorter."""
    rare = (*LARGE, "hardware={gpu: h100-sxm-80gb, count: 64, mtbf: 24h}", "checkpoints.interval=0.1dur")
    result = compile_text(MINIMAL, tmp_path, *rare)
    (finding,) = [f for f in result.findings if f.code == "RC305"]
    interval = finding.help.split("   #")[0].removeprefix("interval: ")
    better = compile_text(MINIMAL, tmp_path, *rare, f"checkpoints.interval={interval}")
    assert "RC305" not in {f.code for f in better.findings}
    assert better.expect().estimate.hours < result.expect().estimate.hours


@pytest.mark.parametrize(
    ("more", "path"),
    [
        (("hardware={gpu: h100-sxm-80gb, count: 64, mtbf: 1h}", "checkpoints.interval=0.5dur"), "checkpoints.interval"),
        (("hardware={gpu: h100-sxm-80gb, count: 64, mfu: 1e-9}",), "hardware.count"),
    ],
)
def test_a_run_without_end_is_refused(more: tuple[str, ...], path: str, tmp_path: Path) -> None:
    """No plan of 1e270 dollars: the interval that helps, or that nothing does."""
    result = compile_text(MINIMAL, tmp_path, *LARGE, *more)
    (finding,) = [f for f in result.findings if f.severity is Severity.ERROR]

    assert result.plan is None
    assert (finding.code, finding.path) == ("RC305", path)
    if finding.help:
        interval = finding.help.split("   #")[0].removeprefix("interval: ")
        better = compile_text(MINIMAL, tmp_path, *LARGE, *more, f"checkpoints.interval={interval}")
        assert better.expect().estimate.hours < 1e5


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("model={size: 1M}", "budget={tokens: 1M tok}"), "a tenth of the run"),
        ((*LARGE, "hardware={gpu: h100-sxm-80gb, count: 64, mtbf: 24h}"), "loses least (Young 1974)"),
        (
            ("model={size: 1.3B}", "budget={tokens: 20B tok}", "hardware={gpu: h100-sxm-80gb, count: 1024}"),
            "to save are to be 5% of the training at most",
        ),
    ],
)
def test_the_usual_interval_of_checkpoints(overrides: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    """Where the recipe doesn't say: ten times a run, more often where machines fail, less often where saving takes long."""
    result = compile_text(MINIMAL, tmp_path, *overrides)
    plan = result.expect()
    assert reason in plan.provenance["checkpoints.interval_steps"].reason
    assert "RC305" not in {f.code for f in result.findings}
    parts = plan.estimate.time_parts
    for interval in ("0.02dur", "0.2dur"):
        other = plan_text(MINIMAL, tmp_path, *overrides, f"checkpoints.interval={interval}").estimate.time_parts
        assert (
            parts["checkpoints"] + parts["restarts"]
            <= 1.3 * (other["checkpoints"] + other["restarts"]) + 0.05 * parts["training"]
        )


def test_ready_made_shards_need_no_tokenizing(tmp_path: Path) -> None:
    """Text is read at the speed of the machine's cores; shards of tokens are only looked at."""
    shards = large(tmp_path).estimate.time_parts["prepare"]
    text = large(tmp_path, "data.sources={web: {jsonl: web/*.jsonl, tokens: 200B tok}}").estimate.time_parts["prepare"]
    assert shards < 120
    assert text > 200e9 / 1e6


def test_scoring_takes_its_time(tmp_path: Path) -> None:
    """It counts as preparation; slow metrics take longer, more tasks less, and the steps sum to the whole."""

    def prepare(metric: str, tasks: int) -> float:
        model = ", model: small" if metric == "loss" else ""
        curriculum = f"data.curriculum={{by: {metric}{model}}}"
        plan = large(tmp_path, curriculum, f"launch.scoring={{tasks: {tasks}}}")
        assert sum(step.seconds for step in plan.steps) == pytest.approx(plan.estimate.hours * 3600)
        return plan.estimate.time_parts["prepare"]

    plain = large(tmp_path).estimate.time_parts["prepare"]
    assert plain < prepare("length", 1) < prepare("mtld", 1) < prepare("flesch_kincaid", 1) < prepare("loss", 1)
    assert prepare("vocd", 2) - plain == pytest.approx((prepare("vocd", 1) - plain) / 2, rel=1e-3)


def test_more_measuring_takes_longer(tmp_path: Path) -> None:
    """Held-out text is a third of its training, as often as it is read."""
    often = large(tmp_path, "evaluation={interval: 0.01dur, max_tokens: 100M}").estimate.time_parts
    assert often["evaluation"] > 10 * large(tmp_path).estimate.time_parts["evaluation"]


@pytest.mark.parametrize("count", [1, 8, 5000])
def test_any_number_of_devices(count: int, tmp_path: Path) -> None:
    """One GPU and ten thousand have an estimate; twice as many are faster, but not twice as fast, so they cost more."""

    def on(count: int) -> Estimate:
        model = ("model={size: 1.3B}",) if count < 100 else ("model={size: 70B}", "training.batch=160M tok")
        return large(tmp_path, f"hardware={{gpu: h100-sxm-80gb, count: {count}}}", *model).estimate

    some, more = on(count), on(2 * count)
    assert 0 < some.hours_low <= some.hours <= some.hours_high
    assert 0 < some.usd_low <= some.usd <= some.usd_high
    assert 0.45 * some.time_parts["training"] < more.time_parts["training"] < some.time_parts["training"]
    assert more.usd_parts["training"] > some.usd_parts["training"] * 0.95


def test_a_price_of_zero_and_no_demand(tmp_path: Path) -> None:
    """Everything costs nothing, and nothing divides by it."""
    e = large(tmp_path, "hardware={gpu: h100-sxm-80gb, count: 64, price: $0/gpu-hour}").estimate
    assert (e.usd, e.usd_low, e.usd_high, e.inference_usd, e.lifetime_usd) == (0, 0, 0, 0, 0)
    assert set(e.usd_parts.values()) == {0}
    assert e.hours > 0


def test_a_measured_speed_and_a_calibration_count(tmp_path: Path) -> None:
    """The recipe's own MFU is what the estimate has; a cluster that is slower than published runs takes longer."""
    site = Path(__file__).parents[1] / "site.json"
    hardware = "hardware={{gpu: h100-sxm-80gb, count: 64, {}}}"
    assert large(tmp_path, hardware.format("mfu: 0.4")).estimate.mfu == pytest.approx(0.4)
    slow, usual = large(tmp_path, hardware.format(f"calibration: {site}")).estimate, large(tmp_path).estimate
    assert slow.hours > usual.hours
    assert "your calibration" in slow.method
    both = compile_text(MINIMAL, tmp_path, *LARGE, hardware.format(f"mfu: 0.4, calibration: {site}")).findings
    assert [finding.code for finding in both] == ["RC201"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipec_calibration": 2}', None])
def test_a_calibration_that_cannot_be_read_is_named(text: str | None, tmp_path: Path) -> None:
    """Missing, damaged or of another version: RC505, with the command that writes one."""
    if text is not None:
        (tmp_path / "cluster.json").write_text(text)
    found = compile_text(MINIMAL, tmp_path, "hardware={gpu: h100-sxm-80gb, calibration: cluster.json}").findings
    assert [finding.code for finding in found] == ["RC505"]
    assert "recipec calibrate" in found[0].help
