"""The choices and curves that screens and pages show: the same numbers that the compiler decided by."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.pipeline import Compiled, compile_recipe
from compiler.render.choices import choices, life_of
from compiler.render.curves import domain, iso_loss, life_curve, neighbours
from compiler.render.page_values import page_values
from compiler.render.words import layout, limits, usd_of
from schemas.plan import RunPlan
from tests.compiler.seen_plan import seen_plan
from tests.recipes import GALLERY

# Models of a minute's training, of which no law says anything.
SILENT = frozenset(
    [
        "curriculum-readability",
        "digits",
        "distillation-cpu",
        "domain-upsampling-cpu",
        "kd-sequence",
        "lora-cpu",
        "lora-smollm2",
        "low-rank-cpu",
        "mixture-linear",
        "pruning-cpu",
        "quantization-cpu",
        "quickstart",
        "small-and-shipped",
        "techniques-cpu",
    ]
)
CLASSIFIERS = frozenset({"digits"})


@pytest.fixture(scope="module", params=GALLERY, ids=lambda path: path.stem)
def result(request: pytest.FixtureRequest) -> Compiled:
    """What the compiler makes of a recipe of the gallery."""
    path: Path = request.param
    return compile_recipe(path)


@pytest.fixture
def plan(result: Compiled) -> RunPlan:
    """Its plan."""
    return result.expect()


def test_lives_are_those_of_the_budget(plan: RunPlan) -> None:
    """FLOPs and dollars of the own choice and of Chinchilla's, worked out by two rooms, agree."""
    if plan.is_classifier:  # no law, no other choice
        assert plan.name in CLASSIFIERS
        assert plan.estimate.lifetime_usd == pytest.approx(plan.budget.lifetime_usd)
        return
    if plan.is_law_silent:
        assert plan.name in SILENT
        assert plan.budget.lifetime_usd == pytest.approx(plan.estimate.lifetime_usd)
        return
    budget, naive = plan.budget, plan.promise.chinchilla
    own = life_of(plan, plan.model.num_parameters, budget.tokens)
    other = life_of(plan, naive.parameters, naive.tokens)

    assert own.flops == pytest.approx(budget.lifetime_flops)
    assert own.usd == pytest.approx(budget.lifetime_usd)
    assert own.usd == pytest.approx(plan.estimate.lifetime_usd)
    # N and D of the naive choice are rounded to whole ones, which is seen where they are few.
    digits = max(1e-6, 1 / naive.parameters, 1 / naive.tokens)
    assert other.flops == pytest.approx(naive.lifetime_flops, rel=digits)
    assert other.usd == pytest.approx(naive.lifetime_usd, rel=digits)


@pytest.mark.parametrize("recipe", [path for path in GALLERY if path.stem not in SILENT], ids=lambda path: path.stem)
def test_the_curve_of_the_loss_runs_through_the_plan(recipe: Path) -> None:
    """And through the choices of the same loss, as near as its samples lie."""
    plan = compile_recipe(recipe).expect()
    assert not plan.is_law_silent
    points = iso_loss(plan)
    below = max((point for point in points if point[0] <= plan.model.num_parameters), key=lambda point: point[0])
    above = min((point for point in points if point[0] >= plan.model.num_parameters), key=lambda point: point[0])

    assert above[1] <= plan.budget.tokens <= below[1]
    shown = domain(plan)
    assert all(shown.least_tokens <= tokens <= shown.most_tokens for _, tokens in points)
    assert all(loss > plan.law_budget.law.e for loss in neighbours(plan))
    assert [sample.parameters for sample in life_curve(plan)] == sorted(s.parameters for s in life_curve(plan))


def test_dollars_by_step_and_by_part_are_the_estimate(result: Compiled, plan: RunPlan) -> None:
    """Two tables of one sum."""
    values = page_values(result)

    assert sum(row.usd for row in values["steps"]) == pytest.approx(plan.estimate.usd, rel=1e-6, abs=1e-9)
    assert sum(dollars for _, dollars in values["clock"]["rows"]) == pytest.approx(plan.estimate.usd, abs=1e-9)
    assert sum(part.share for part, _ in values["clock"]["rows"]) == pytest.approx(1)
    assert sum(part.share for part in values["memory"]["legend"]) == pytest.approx(1)


def test_the_note_is_the_change_in_dollars_or_else_in_flops() -> None:
    """What Chinchilla's choice costs more: by hand from both lives."""
    plan = seen_plan()
    own, *_, naive = choices(plan)
    free = seen_plan(estimate={"usd": 0.0}, budget={"inference_usd": 0.0})

    assert [choice.name for choice in choices(plan)] == ["this plan", "optimum", "Chinchilla"]
    # 3.78e19 FLOP at $319.54 per 3.913e19 FLOP, and 900M of 622M parameters served for $194
    assert naive.life.usd == pytest.approx(3.78e19 * 319.54 / (6 * 622e6 * 10_485_760_000) + 194 * 900 / 622)
    assert naive.note == f"+{(naive.life.usd / own.life.usd - 1) * 100:.0f} %, blind to inference"
    assert choices(free)[-1].note == "+28 %, blind to inference"  # 1.404e20 against 1.1004e20


@pytest.mark.parametrize(
    ("parallelism", "words"),
    [
        ({"devices": 1, "sharding": "none", "shard_degree": 1, "replicas": 1}, "one copy"),
        ({"devices": 8, "sharding": "none", "shard_degree": 1, "replicas": 8}, "a copy on each"),
        ({"devices": 8, "sharding": "full", "shard_degree": 8, "replicas": 1}, "sharded over 8"),
        ({"devices": 16, "sharding": "full", "shard_degree": 8, "replicas": 2}, "sharded over 8, 2 copies"),
        (
            {"devices": 8, "sharding": "gradients", "shard_degree": 8, "replicas": 1},
            "gradients and optimizer sharded over 8",
        ),
    ],
)
def test_layouts_have_words(parallelism: dict[str, object], words: str) -> None:
    """Every layout that a plan can have."""
    assert layout(seen_plan(parallelism=parallelism)) == words


def test_limits_say_how_much_of_them_is_taken() -> None:
    """Each that the recipe has."""
    assert limits(seen_plan()) == ["6 % of max_cost $5k", "45 % of max_hours 36 h", "50 % of max_gpus 16"]
    assert limits(seen_plan(budget={"max_cost_usd": None, "max_seconds": None, "max_gpus": None})) == []


def test_what_is_taken_together_costs_what_its_parts_cost() -> None:
    """`other` is no part of a plan."""
    parts = {"training": 5.0, "startup": 0.25, "restarts": 0.5}

    assert usd_of("training", [("training", 1.0), ("other", 1.0)], parts) == 5.0
    assert usd_of("other", [("training", 1.0), ("other", 1.0)], parts) == 0.75
    assert usd_of("prepare", [("training", 1.0)], parts) == 0.0
