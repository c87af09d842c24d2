"""schemas.resume: which checkpoints may be continued under a changed plan, and why others may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.plan import RunPlan
from schemas.resume import last_step, parts_at, resume_conflicts
from tests.factory import tiny_plan

BATCH, LENGTH = 8, 64
STEP = BATCH * LENGTH
Mix = Mapping[str, int]


def run(*phases: tuple[int, Mix], **changes: Any) -> RunPlan:
    """A plan of phases given as steps and samples of a batch by source: `(100, {"code": 6, "prose": 2})`."""
    found: list[dict[str, Any]] = []
    start = 0
    for number, (steps, mix) in enumerate(phases):
        shares = {name: {"samples": steps * n, "tokens": steps * n * LENGTH} for name, n in mix.items()}
        end = start + steps * STEP
        found.append({"id": f"phase{number}", "start_token": start, "end_token": end, "sources": shares})
        start = end
    data = {"phases": found, **changes.pop("data", {})}
    training = {"steps": start // STEP, **changes.pop("training", {})}
    return tiny_plan(data=data, training=training, budget={"tokens": start}, **changes)


HALF, MORE, NONE = {"code": 4, "prose": 4}, {"code": 6, "prose": 2}, {"code": 8}


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ([(100, HALF)], [(100, HALF)], 100),
        ([(100, HALF)], [(40, HALF), (60, HALF)], 100),
        ([(100, HALF)], [(40, HALF), (60, MORE)], 40),
        ([(40, HALF), (60, MORE)], [(40, HALF), (60, NONE)], 40),
        ([(40, HALF), (60, MORE)], [(70, HALF), (30, MORE)], 40),
        ([(100, HALF)], [(100, MORE)], 0),
        ([(100, HALF)], [(250, HALF)], 100),
        ([(100, HALF)], [(30, HALF)], 30),
        ([(80, HALF), (20, MORE)], [(160, HALF), (40, MORE)], 80),
    ],
)
def test_where_two_mixtures_part(old: Sequence[tuple[int, Mix]], new: Sequence[tuple[int, Mix]], step: int) -> None:
    """The past must be the same; a knot that changes no weight is no change; runs may be longer or shorter."""
    before, after = run(*old), run(*new)
    assert parts_at(before, after) == parts_at(after, before) == step * STEP
    assert last_step(before, after) == step
    if step:
        assert resume_conflicts(before, after, step * STEP) == ()
    beyond = resume_conflicts(before, after, (step + 1) * STEP)
    assert [path for path, _ in beyond] == ["data.phases"]


def test_reasons_say_what_happened() -> None:
    """A parted past, another one from the start, and a run that ends before the checkpoint are three things."""
    old = run((100, HALF))
    cases = {"part after step 40": run((40, HALF), (60, MORE)), "ends at step 30 now": run((30, HALF))}
    for words, new in cases.items():
        ((_, reason),) = resume_conflicts(old, new, 50 * STEP)
        assert words in reason
    ((_, reason),) = resume_conflicts(old, run((100, MORE)))
    assert reason.startswith("the order of the samples would change")


def test_pieces_of_a_transition_add_up() -> None:
    """Each differs from the other plan's by less than a sample, and together they are another mixture from the start."""

    def pieces(*codes: int) -> RunPlan:
        found, start = [], 0
        for number, code in enumerate(codes, start=1):
            shares = {n: {"samples": c, "tokens": c * LENGTH} for n, c in (("code", code), ("prose", 40 - code))}
            end = start + 5 * STEP
            span = {"start_token": start, "end_token": end, "transition": "linear" if number > 1 else "step"}
            found.append({"id": f"phase1.{number:02}" if number > 1 else "phase0", **span, "sources": shares})
            start = end
        return tiny_plan(data={"phases": found}, training={"steps": start // STEP}, budget={"tokens": start})

    level, rising = pieces(*[20] * 12), pieces(20, 20, *[21] * 10)
    assert last_step(level, rising) == 10
    assert last_step(level, level) == 60


@st.composite
def cuts(draw: st.DrawFn) -> list[int]:
    """A run of 300 steps, cut at random."""
    return sorted({0, 300, *draw(st.lists(st.integers(1, 299), max_size=6))})


@given(cuts(), cuts(), st.integers(1, 10**6), st.integers(1, 10**6))
def test_rounding_is_no_difference(left: list[int], right: list[int], a: int, b: int) -> None:
    """One mix cut in any two ways, each phase rounded on its own, is the same mix, until a source is drawn up."""
    old, new = (rounded([(edges, {"code": a, "prose": b})]) for edges in (left, right))
    step, before, after = last_step(old, new), totals(old), totals(new)
    if before == after:
        assert step == 300
    for name in before:
        assert before[name] - after.get(name, 0) <= BATCH * (300 - step)


def rounded(spans: Sequence[tuple[list[int], Mix]]) -> RunPlan:
    """A plan of mixes, each over steps that are cut at some edges, each phase rounded on its own."""
    from compiler.apportion import apportion

    phases: list[dict[str, Any]] = []
    for edges, mix in spans:
        for start, end in pairwise(edges):
            counts = apportion((end - start) * BATCH, mix)
            shares = {n: {"samples": c, "tokens": c * LENGTH} for n, c in counts.items() if c}
            span = {"start_token": start * STEP, "end_token": end * STEP}
            phases.append({"id": f"phase{len(phases)}", **span, "sources": shares})
    end = phases[-1]["end_token"]
    return tiny_plan(data={"phases": phases}, training={"steps": end // STEP}, budget={"tokens": end})


def totals(plan: RunPlan) -> dict[str, int]:
    """Samples of each source in the whole run."""
    found: Counter[str] = Counter()
    for phase in plan.data.phases:
        found.update({name: share.samples for name, share in phase.sources.items()})
    return dict(found)


_MIXES = st.fixed_dictionaries({"code": st.integers(1, 1000), "prose": st.integers(0, 1000)})


@st.composite
def futures(draw: st.DrawFn) -> tuple[RunPlan, RunPlan]:
    """Two plans of one past, cut in different ways, and of two futures of any length."""
    past, switch = draw(_MIXES), draw(st.integers(1, 30))
    found = []
    for _ in range(2):
        edges = sorted({0, switch, *draw(st.lists(st.integers(1, switch), max_size=4))})
        end = switch + draw(st.integers(1, 12))
        later = sorted({switch, end, *draw(st.lists(st.integers(switch, end), max_size=4))})
        found.append(rounded([(edges, past), (later, draw(st.sampled_from([past, draw(_MIXES)])))]))
    return found[0], found[1]


@given(futures())
def test_a_changed_future_is_met_exactly(plans: tuple[RunPlan, RunPlan]) -> None:
    """From every checkpoint that may be continued: each source ends with what the new plan says, none a sample off."""
    from runtime.order.run_order import RunOrder

    def order(plan: RunPlan) -> RunOrder:
        names = dict.fromkeys(plan.data.sources, 0)
        return RunOrder(plan.data.phases, dict.fromkeys(names, _Numbers()), names)

    old, new = plans
    for step in range(1, last_step(old, new) + 1):
        assert resume_conflicts(old, new, step * STEP) == ()
        begun = order(old).start()
        begun.take(step * BATCH)
        changed = order(new).start(step * BATCH, begun.drawn)
        changed.take(10**9)
        assert {name: drawn for name, drawn in changed.drawn.items() if drawn} == totals(new)


class _Numbers:
    """Samples of a source in their own order."""

    samples = 1 << 40

    def draws(self, start: int, stop: int) -> Any:
        return np.arange(start, stop)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"seed": 18}, "seed"),
        (
            {"training": {"global_batch_samples": 4, "global_batch_tokens": 256, "steps": 200}},
            "training.global_batch_samples",
        ),
        ({"data": {"shuffle_block": 7}}, "data.shuffle_block"),
        ({"evaluation": {"holdout": 0.1}}, "evaluation.holdout"),
    ],
)
def test_the_past_of_other_things_is_bound(change: dict[str, Any], path: str) -> None:
    """Batch, seed, order: no checkpoint at all, with the reason."""
    old, new = run((100, HALF)), run((100, HALF), **{**change, "training": {**change.get("training", {})}})
    assert [found for found, _ in resume_conflicts(old, new)] == [path]
    assert last_step(old, new) == 0


def test_what_takes_effect_from_there_on() -> None:
    """The learning rate, limits of sources, and a technique that lasts as long as the run may change."""
    clip = {"kind": "gradient_clipping", "clipping": "norm", "threshold": 1.0}

    def made(steps: int, limit: float | None, lr: float) -> RunPlan:
        sources = {"code": {"builtin": "cpython-library", "max_epochs": limit}, "prose": {"builtin": "cpython-docs"}}
        window = {"start_token": 0, "end_token": steps * STEP}
        optimizer = {**tiny_plan().training.optimizer.model_dump(), "lr": lr}
        return run(
            (steps, HALF),
            data={"sources": sources},
            algorithms=[{**clip, "window": window}],
            training={"optimizer": optimizer},
        )

    assert last_step(made(100, None, 1e-3), made(120, 2.0, 1e-4)) == 100


def test_a_slope_that_follows_the_run_is_bound() -> None:
    """Pruning towards the end of the run has been at other sparsities so far, if the end moves."""
    pruning = {"kind": "pruning", "sparsity": 0.5, "scope": "layer", "interval_steps": 1}

    def made(steps: int) -> RunPlan:
        window = {"start_token": 0, "end_token": steps * STEP}
        return run((steps, HALF), algorithms=[{**pruning, "window": window}])

    assert [path for path, _ in resume_conflicts(made(100), made(120))] == ["algorithms"]


def test_a_source_may_come_in_later() -> None:
    """With a tokenizer that exists; one that is trained on the sources would be another."""
    base = {"code": {"builtin": "cpython-library"}, "prose": {"builtin": "cpython-docs"}}
    more = {**base, "names": {"builtin": "cpython-unicode"}}
    mixed = {"code": 4, "prose": 2, "names": 2}
    pretrained = {"kind": "pretrained", "max_bytes": 0, "path": "tok"}
    for tokenizer, step in ((pretrained, 60), ({}, 0)):
        old = run((100, HALF), data={"sources": base}, tokenizer=tokenizer)
        new = run((60, HALF), (40, mixed), data={"sources": more}, tokenizer=tokenizer)
        assert last_step(old, new) == step
        reasons = [reason for _, reason in resume_conflicts(old, new)]
        assert reasons == (
            []
            if step
            else ["the tokenizer is trained on all sources, so with this one token ids would mean other words"]
        )
    other = {**more, "code": {"files": "src/*.py"}}
    new = run((60, HALF), (40, mixed), data={"sources": other}, tokenizer=pretrained)
    assert [path for path, _ in resume_conflicts(run((100, HALF), tokenizer=pretrained), new)] == ["data.sources"]


def test_a_curriculum_is_stricter() -> None:
    """It follows the phases as they are, so these must be identical up to the checkpoint; another one is refused."""
    curriculum = {
        "metric": "length", "model": None, "order": "easy_to_hard", "pacing": "sqrt", "start": 0.1, "end_token": 4096,
        "power": 2.0, "growth": 1.9, "stages": 4, "buckets": 10, "scope": "source",
    }  # fmt: skip
    data = {"curricula": {"code": curriculum}}
    old = run((40, HALF), (60, MORE), data=data)
    assert last_step(old, run((40, HALF), (30, MORE), (30, NONE), data=data)) == 40
    assert last_step(run((100, HALF), data=data), run((50, HALF), (50, HALF), data=data)) == 0
    other = {"curricula": {"code": {**curriculum, "end_token": 8192}}}
    assert [path for path, _ in resume_conflicts(old, run((40, HALF), (60, MORE), data=other))] == ["data.curricula"]
