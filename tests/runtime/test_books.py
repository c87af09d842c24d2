"""Counts of what is fed: by phase and source, over ranks and resumptions, exact whatever the cuts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.books import Books, by_phase, mix_ends, whole_name
from runtime.checkpoint import Progress
from schemas.data import Transition
from schemas.plan import PhasePlan

LENGTH, BATCH = 16, 8
SOURCES = ("code", "math", "prose")


def phases(*spans: int, pieces: tuple[str, ...] = ()) -> tuple[PhasePlan, ...]:
    """Phases of so many batches each; what they plan to draw doesn't matter to those who count."""
    found, start = [], 0
    for i, batches in enumerate(spans):
        end = start + batches * BATCH * LENGTH
        name = pieces[i] if pieces else f"phase{i}"
        kind: Transition = "linear" if "." in name else "step"
        found.append(PhasePlan(id=name, start_token=start, end_token=end, sources={}, transition=kind))
        start = end
    return tuple(found)


def progress(step: int = 0, **fields: Mapping[str, object]) -> Progress:
    """The books of a run that has come to a step."""
    values: dict[str, object] = {"samples": dict.fromkeys(SOURCES, 0), **fields}
    return Progress(step, step * BATCH * LENGTH, 0, 0.0, 6.0, 5.0, **values)  # type: ignore[arg-type]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    spans=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 24), max_size=3),
    ranks=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_counts_are_exact_over_ranks_and_resumptions(spans: list[int], cuts: list[int], ranks: int, seed: int) -> None:
    """Whatever is drawn, by however many ranks, with the books handed on at any batch: phases and sources have all of it."""
    plan, steps = phases(*spans), sum(spans)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(SOURCES), (steps, BATCH))
    padding = rng.integers(0, 3, (steps, BATCH))
    edges = sorted({0, steps, *(cut for cut in cuts if cut < steps)})
    before = progress()
    for start, stop in itertools.pairwise(edges):
        books = [Books(plan, SOURCES, BATCH * LENGTH, LENGTH) for _ in range(ranks)]
        for rank, book in enumerate(books):
            book.go_on(start)
            for step in range(start, stop):
                mine = slice(rank, None, ranks)
                book.draw(drawn[step, mine], padding[step, mine])
                book.cut((BATCH // ranks) * (LENGTH - step % 3))
        summed = np.sum([book.flat() for book in books], axis=0).tolist()
        totals = books[0].totals(summed, before)
        before = progress(stop, **vars(totals))
    for number, name in enumerate(SOURCES):
        here = drawn == number
        assert before.samples[name] == here.sum()
        assert before.padding[name] == padding[here].sum()
        assert before.truncated[name] == (here * (np.arange(steps) % 3)[:, None]).sum()
    found = by_phase(plan, before, LENGTH)
    assert found is not None
    for phase in plan:
        batches = slice(phase.start_token // (BATCH * LENGTH), phase.end_token // (BATCH * LENGTH))
        counts = np.bincount(drawn[batches].ravel(), minlength=len(SOURCES))
        assert found[phase.id] == dict(zip(SOURCES, counts.tolist(), strict=True))


def test_books_of_an_older_version_say_nothing_of_phases() -> None:
    """A run that began before phases were counted, and goes on now: what is known is a part, so none of it is told."""
    plan = phases(4, 4)
    books = Books(plan, SOURCES, BATCH * LENGTH, LENGTH)
    books.go_on(2)
    books.draw(np.zeros(BATCH, np.int64))
    old = progress(2, samples={"code": 10, "math": 4, "prose": 2})
    totals = books.totals(books.flat(), old)
    assert totals.samples == {"code": 18, "math": 4, "prose": 2}
    assert by_phase(plan, progress(3, **vars(totals)), LENGTH) is None


def test_another_future_keeps_what_was_counted() -> None:
    """Phases are kept by their first token: one that ends elsewhere now, or is one with its neighbour, has its past."""
    samples = {"code": 40, "math": 8, "prose": 0}
    found = progress(6, samples=samples, phases={"0": {"code": 32}, str(4 * BATCH * LENGTH): {"code": 8, "math": 8}})
    later = by_phase(phases(4, 9, 3), found, LENGTH)
    assert later == {"phase0": {"code": 32}, "phase1": {"code": 8, "math": 8}}
    assert by_phase(phases(12), found, LENGTH) == {"phase0": {"code": 40, "math": 8}}


def test_a_phase_that_is_two_now_is_not_guessed() -> None:
    """Seven batches were counted as one phase, and the new plan has a knot after the fifth: only what comes later is known."""
    start = {batches: str(batches * BATCH * LENGTH) for batches in (5, 12)}
    rows = {"0": {"code": 42, "math": 14}, start[5]: {"code": 30, "math": 10}, start[12]: {"math": 16}}
    found = progress(14, samples={"code": 72, "math": 40, "prose": 0}, phases=rows)
    assert by_phase(phases(5, 7, 18), found, LENGTH) == {"phase2": {"math": 16}}


def test_a_transition_is_one_mix() -> None:
    """Mixes end where a constant one or a whole transition does; inside of a transition no piece does."""
    names = ("phase0", "phase1.00", "phase1.01", "phase2.00", "phase2.01", "phase3", "phase4")
    plan = phases(4, 1, 1, 1, 1, 2, 3, pieces=names)
    assert [end // (BATCH * LENGTH) for end in mix_ends(plan)] == [4, 6, 8, 10, 13]
    assert mix_ends(phases(5)) == (5 * BATCH * LENGTH,)
    assert [whole_name(phase) for phase in plan[:3]] == ["phase0", "phase1", "phase1"]
