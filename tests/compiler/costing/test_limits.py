"""Limits at compile time: every change that is suggested is applied here, and meets them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.diagnostics import Diagnostic, Severity
from tests.recipes import MINIMAL, compile_text

BASE = (
    "data.sources={web: {mds: s3://corpus/web, tokens: 900B tok}}",
    "data.sequence_length=2048",
    "tokenizer={vocab_size: 32768}",
)


def exceeded(folder: Path, *overrides: str) -> list[Diagnostic]:
    """Findings of RC302."""
    return [f for f in compile_text(MINIMAL, folder, *BASE, *overrides).findings if f.code == "RC302"]


def suggestions(finding: Diagnostic) -> list[list[str]]:
    """The changes that a finding offers, each as the overrides that make it."""
    offered = finding.help.partition("# or, within all limits: ")[2]
    ways = []
    for way in filter(None, offered.split("; or ")):
        lines = re.findall(r"`([\w.]+): ([^`]+)`", way)
        replaced = re.findall(r"instead of `(\w+)`", way)
        ways.append([*(f"budget={{tokens: {v}}}" for k, v in lines if replaced and k == "budget.tokens"),
                     *(f"{key}={value}" for key, value in lines if not (replaced and key == "budget.tokens"))])  # fmt: skip
    return ways


CASES = [
    ("model={size: 3B}", "budget={tokens: 60B tok, max_cost: $1k}", "hardware={gpu: h100-sxm-80gb, count: 8}"),
    ("model={size: 3B}", "budget={tokens: 60B tok, max_hours: 30h}", "hardware={gpu: h100-sxm-80gb, count: 8}"),
    ("model={size: 1B}", "budget={tokens_per_parameter: 20, max_cost: $60}", "hardware={gpu: a100-sxm-80gb, count: 8}"),
    ("model={size: 1B}", "budget={flops: 1e20, max_hours: 5h}", "hardware={gpu: a100-sxm-80gb, count: 8}"),
    ("model={size: auto}", "budget={match_chinchilla: 1B, max_cost: $100}", "hardware={gpu: h100-sxm-80gb, count: 8}"),
    ("model={size: auto}", "budget={target_loss: 2.6, max_cost: $50}", "hardware={gpu: h100-sxm-80gb, count: 8}"),
    ("model={size: auto}", "budget={cost: $500, max_hours: 10h}", "hardware={gpu: h100-sxm-80gb, count: 8}"),
    ("model={size: 1B}", "budget={tokens: 20B tok, max_hours: 5h, max_cost: $200}", "hardware={gpu: h100-sxm-80gb, count: 8}"),
    ("model={size: 1B}", "budget={tokens: 20B tok, max_gpus: 12}", "hardware={gpu: h100-sxm-80gb, count: 16}"),
    ("model={size: auto}", "budget={match_chinchilla: 1B, max_cost: $10, max_hours: 1h, max_gpus: 4}",
     "hardware={gpu: h100-sxm-80gb, count: 8}"),
    ("model={size: 1B}", "budget={max_cost: $50}", "training.duration=20e9tok", "hardware={gpu: h100-sxm-80gb, count: 8}"),
]  # fmt: skip


def limits_of(overrides: tuple[str, ...]) -> list[str]:
    """The limits of a case, one override each."""
    return [f"budget.{key}={value}" for key, value in re.findall(r"(max_\w+): ([^,}]+)", " ".join(overrides))]


@pytest.mark.parametrize("overrides", CASES, ids=lambda case: case[1])
def test_every_suggestion_meets_the_limits(overrides: tuple[str, ...], tmp_path: Path) -> None:
    """At least one change is offered, and with any of them the recipe compiles within all limits."""
    found = exceeded(tmp_path, *overrides)
    assert found
    ways = suggestions(found[0])
    assert 1 <= len(ways) <= 2
    for way in ways:
        changed = compile_text(MINIMAL, tmp_path, *BASE, *overrides, *way, *limits_of(overrides))
        assert changed.plan is not None, (way, [f.message for f in changed.findings])


@pytest.mark.parametrize("overrides", [case for case in CASES if len(limits_of(case)) == 1], ids=lambda case: case[1])
def test_the_limit_that_is_named_is_enough(overrides: tuple[str, ...], tmp_path: Path) -> None:
    """The line to write at the limit itself is not one rounding short."""
    (finding,) = exceeded(tmp_path, *overrides)
    key, _, value = finding.help.partition("   #")[0].partition(": ")
    assert not exceeded(tmp_path, *overrides, f"budget.{key}={value}")


def test_changes_that_keep_the_loss_come_first(tmp_path: Path) -> None:
    """For a deadline: fp8 or more devices, with what they cost; fewer tokens come after, with the loss they give up."""
    (finding,) = exceeded(tmp_path, *CASES[1])
    first = suggestions(finding)[0][0]
    assert first.startswith(("precision=fp8", "hardware.count="))
    (money,) = exceeded(tmp_path, *CASES[0])
    assert re.search(r"loss \d\.\d{3} instead of \d\.\d{3}", money.help)


def test_most_of_the_limit_is_used(tmp_path: Path) -> None:
    """Of $1000 more than $900 are spent: the suggestion is the least change, not any that meets the limit."""
    (finding,) = exceeded(tmp_path, *CASES[0])
    spent = [float(usd) for usd in re.findall(r"and \$(\d+\.\d\d)", finding.help)]
    assert spent
    assert all(900 < usd <= 1000 for usd in spent)


def test_a_limit_of_devices_that_is_kept_does_not_end_the_search(tmp_path: Path) -> None:
    """All of the devices that are allowed, and most of the hour or of the $10."""
    found = exceeded(
        tmp_path,
        "model={size: auto}",
        "budget={match_chinchilla: 1B, max_cost: $10, max_hours: 1h, max_gpus: 4}",
        "hardware={gpu: h100-sxm-80gb, count: 4}",
    )
    spent = [float(usd) for usd in re.findall(r"and \$(\d+\.\d\d)", found[0].help)]
    assert max(spent) > 7


def test_a_limit_that_no_run_meets_says_so(tmp_path: Path) -> None:
    """Starting the devices alone costs more: no change is offered, and the reason is told."""
    found = exceeded(
        tmp_path,
        "model={size: 1B}",
        "budget={tokens: 20B tok, max_cost: $0.10}",
        "hardware={gpu: h100-sxm-80gb, count: 64}",
    )
    assert len(found) == 1
    assert suggestions(found[0]) == []
    assert "alone take $" in found[0].reason


def test_what_a_stand_in_costs_is_not_said(tmp_path: Path) -> None:
    """After a target that no model reaches there is no run whose dollars could exceed anything; its devices still can."""
    wrong = compile_text(
        MINIMAL,
        tmp_path,
        *BASE,
        "model={size: auto}",
        "budget={target_loss: 1.5, max_cost: $0.01, max_gpus: 4}",
        "hardware={gpu: h100-sxm-80gb, count: 8}",
    )
    assert [(f.code, f.path) for f in wrong.findings if f.severity is Severity.ERROR] == [
        ("RC301", "budget.target_loss"),
        ("RC302", "budget.max_gpus"),
    ]


def test_limits_that_are_kept_are_silent(tmp_path: Path) -> None:
    """No finding, and the limits are in the plan, for the run to keep."""
    limits = "budget={tokens: 1B tok, max_cost: $1M, max_hours: 99d, max_gpus: 8}"
    plan = compile_text(MINIMAL, tmp_path, *BASE, limits, "hardware={gpu: h100-sxm-80gb, count: 8}").expect()
    assert (plan.budget.max_cost_usd, plan.budget.max_seconds, plan.budget.max_gpus) == (1e6, 99 * 86_400, 8)


def test_money_and_limits_change_no_identity(tmp_path: Path) -> None:
    """Price, limits, failures, power: another forecast of the same run, with the same resume key and job folder."""
    hardware = "gpu: h100-sxm-80gb, count: 8"
    plain = compile_text(MINIMAL, tmp_path, *BASE, f"hardware={{{hardware}}}").expect()
    other = compile_text(
        MINIMAL,
        tmp_path,
        *BASE,
        f"hardware={{{hardware}, price: $9/gpu-hour, mfu: 0.3, mtbf: 10h, pue: 2, grid: 10g/kWh}}",
        "budget.max_cost=$1M",
        "budget.max_hours=99d",
    ).expect()
    assert plain.estimate.usd != other.estimate.usd
    assert (plain.fingerprint, plain.resume_key) == (other.fingerprint, other.resume_key)
