"""Budgets that can't be met say what could be: the smallest, the most, the key to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compiler.passes.budgets import errors, plan


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (
            "{target_loss: 2.0, constraints: {max_parameters: 7B, unique_tokens: 100B}}",
            "max_parameters and unique_tokens leave at least",
        ),
        ("{match_chinchilla: 70B, constraints: {max_tokens_per_parameter: 5, max_parameters: 7B}}", "at least"),
        ("{match_model: {parameters: 7B, tokens: 2T}, constraints: {unique_tokens: 5B}}", "unique_tokens"),
        ("{target_loss: 1.5}", "no model reaches a loss of 1.5"),
        ("{flops: 1e5}", "shorter than one batch"),
        ("{target_loss: 50}", "shorter than one batch"),
        ("{cost: $0.01}", "is too little"),
        ("{time: 1s}", "is too little"),
        ("{gpu_time: 1min}", "is too little"),
        ("{lifetime_cost: $1, inference: {requests: 1B}}", "to serve it"),
        (
            "{lifetime_cost: $1k, inference: {requests: 1B}, constraints: {min_parameters: 7B}}",
            "to serve it",
        ),
        ("{tokens: 1T, constraints: {unique_tokens: 100B}}", "more than 4 passes"),
        ("{match_chinchilla: 1000}", "shorter than one batch"),
    ],
)
def test_what_can_t_be_met_says_what_could_be(budget: str, words: str, tmp_path: Path) -> None:
    """One error, at the budget, and its line is the smallest that works: written instead, nothing is wrong."""
    (error,) = errors(tmp_path, budget)
    line = error.help.partition("   #")[0]
    key, _, value = line.partition(": ")

    assert words in error.message
    assert error.code == "RC301"
    replaced = f"budget={value}" if key == "budget" else f"budget.{key}={value}"
    assert [found.message for found in errors(tmp_path, budget, replaced)] == []


@pytest.mark.parametrize(
    ("budget", "key"),
    [
        ("{target_loss: 1.82}", "target_loss"),
        ("{target_loss: 1.8173, constraints: {unique_tokens: 10T, max_parameters: 1T}}", "target_loss"),
        ("{match_chinchilla: 100T, scaling_law: sardana, inference: {requests: 1e15}}", "match_chinchilla"),
        ("{flops: 1e29, constraints: {max_parameters: 1B}}", "flops"),
        ("{tokens: 1e17}", "tokens"),
        ("{cost: $1e12, objective: flops}", "cost"),
        ("{time: 1e10s, constraints: {max_parameters: 100M}}", "time"),
    ],
)
def test_more_than_there_is_says_what_there_is(budget: str, key: str, tmp_path: Path) -> None:
    """In the target's own unit, and once the line is written the budget is at peace (devices that hold it are another matter)."""
    found = [error for error in errors(tmp_path, budget, "hardware.price=$0.01/gpu-hour") if error.code == "RC301"]
    (error,) = found
    written, _, value = error.help.partition(": ")

    assert written == key
    assert error.path == f"budget.{key}"
    assert ("a loss of" in error.message) == (key in ("target_loss", "match_chinchilla"))
    again = errors(tmp_path, budget, "hardware.price=$0.01/gpu-hour", f"budget.{key}={value}")
    assert [other.message for other in again if other.code == "RC301"] == []


@pytest.mark.parametrize(
    ("budget", "more"),
    [
        ("{time: 1s}", "model.size=7B training.batch=4Mtok"),
        ("{cost: $0.01}", "hardware.count=4 training.batch=4Mtok"),
        ("{gpu_time: 1s}", "hardware={gpu:l4-24gb,count:4} model.size=1.3B"),
        ("{lifetime_cost: $0.01}", "hardware={gpu:cpu,price:$1/gpu-hour}"),
    ],
)
def test_the_smallest_budget_that_is_named_is_enough(budget: str, more: str, tmp_path: Path) -> None:
    """Also where two steps take more than the one that the smallest run has: the line was tried."""
    overrides = [override.replace(":", ": ") for override in more.split()]
    (error,) = errors(tmp_path, budget, *overrides)
    key, _, value = error.help.partition(": ")

    assert "is too little" in error.message
    assert f"budget.{key}" == error.path
    assert errors(tmp_path, budget, *overrides, f"budget.{key}={value}") == []


@pytest.mark.parametrize(
    "budget",
    ["{flops: 9e28}", "{target_loss: 1.8173}", "{target_loss: 2.0}", "{time: 1e10s, inference: {requests: 1e15}}"],
)
def test_a_fixed_model_that_is_asked_too_much(budget: str, tmp_path: Path) -> None:
    """At the size where a larger one would do, else at the target; never a loss of 9e28, and the line works."""
    more = ("model.size=100M", "hardware={gpu: h100-sxm-80gb, count: 100000}")
    (error,) = errors(tmp_path, budget, *more)
    key, _, value = error.help.partition(": ")
    place = "model.size" if key == "size" else f"budget.{key}"

    assert error.path == place
    assert "loss of 9e+28" not in error.message
    again = errors(tmp_path, budget, *more, f"{place}={value}")
    assert [found.message for found in again if found.code == "RC301"] == []


def test_a_batch_larger_than_the_run_is_made_smaller(tmp_path: Path) -> None:
    """The line that is wrong is the batch's, so that is the line to write."""
    (error,) = errors(tmp_path, "{tokens: 1B}", "model.size=100M", "training.batch=4B tok")
    line = error.help.partition("   #")[0]

    assert (error.path, line.partition(": ")[0]) == ("training.batch", "batch")
    smaller = plan(tmp_path, "{tokens: 1B}", "model.size=100M", f"training.batch={line.partition(': ')[2]}")
    assert smaller.training.steps > 400


@pytest.mark.parametrize(
    ("budget", "more"),
    [
        ("{cost: $5k}", "hardware.price=$0/gpu-hour"),
        ("{lifetime_cost: $5k, inference: {requests: 1M}}", "hardware.price=$0/gpu-hour"),
        ("{match_chinchilla: 1B, objective: dollars, inference: {requests: 1M}}", "hardware.price=$0/gpu-hour"),
        ("{match_chinchilla: 1B, inference: {requests: 1M, gpu: h10}}", "seed=1"),
        ("{match_chinchilla: 1B, inference: {requests: 1M, gpu: a100-sxm-80gb, precision: fp8}}", "seed=1"),
        ("{tokens: 20B, constraints: {max_parameters: 100M}}", "model.size=1B"),
        ("{match_chinchilla: 1B, constraints: {max_tokens_per_parameter: 5}}", "model.size=1B"),
        ("{tokens_per_parameter: 50, constraints: {max_tokens_per_parameter: 20}}", "model.size=1B"),
        ("{constraints: {unique_tokens: 1M}}", "model.size=1B training.duration=100ba"),
    ],
)
def test_prices_devices_and_sizes_that_don_t_fit_are_errors(budget: str, more: str, tmp_path: Path) -> None:
    """One error each, with a place in the budget and a line to write."""
    (error,) = errors(tmp_path, budget, *more.split())

    assert error.code in ("RC301", "RC501", "RC503")
    assert error.path.startswith("budget")
    assert error.help


def test_data_worn_out_is_an_error(tmp_path: Path) -> None:
    """All sources say their size, and no number of passes over them reaches the quality."""
    (error,) = errors(tmp_path, "{match_chinchilla: 7B}", "data.sources.web.tokens=1B")

    assert error.code == "RC301"
    assert "unique_tokens leaves at least" in error.message
