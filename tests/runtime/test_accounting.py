"""Tokens of each source while a run goes, and in its result: live, over ranks and resumptions, equal to the plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.build import padding_of
from runtime.callbacks.console import shares
from runtime.callbacks.ledger import Ledger
from runtime.reporting.data_report import data_report
from runtime.resume import adopt
from runtime.steps.base import Result
from runtime.tokenizer import padding_id
from schemas.plan import PhasePlan, RunPlan
from tests.factory import tiny_plan
from tests.runtime.interruption import interrupted_after
from tests.runtime.plans import sealed, write_plan
from tests.runtime.training_case import LENGTH, SIZES, layout_of, metrics, plan_of, start, train

BATCH = 8 * LENGTH
PHASES = {"phase0": (0, 4, 6, 2), "phase1.00": (4, 6, 5, 3), "phase1.01": (6, 8, 4, 4), "phase2": (8, 12, 2, 6)}
"""First step, end, samples of `code` and of `prose` in each batch; the two in the middle are pieces of a transition."""


def mixed(**changes: Any) -> RunPlan:
    """12 steps over four phases."""
    phases = [
        {
            "id": name,
            "start_token": first * BATCH,
            "end_token": end * BATCH,
            "transition": "linear" if "." in name else "step",
            "sources": {
                source: {"samples": n * (end - first), "tokens": n * (end - first) * LENGTH}
                for source, n in (("code", code), ("prose", prose))
            },
        }
        for name, (first, end, code, prose) in PHASES.items()
    ]
    return plan_of(12, data={"phases": phases}, **changes)


PLANNED = {
    name: {"code": code * (end - first), "prose": prose * (end - first)}
    for name, (first, end, code, prose) in PHASES.items()
}


def drawn_up_to(step: int) -> dict[str, int]:
    """Tokens of each source after so many batches, by the plan."""
    found = {"code": 0, "prose": 0}
    for first, end, code, prose in PHASES.values():
        batches = max(0, min(end, step) - first)
        found["code"] += batches * code * LENGTH
        found["prose"] += batches * prose * LENGTH
    return found


def sources_of(line: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """`{kind}/{source}` of a record, by source."""
    return {name: line[f"{kind}/{name}"] for name in SIZES}


def test_tokens_per_source_are_live_and_equal_the_plan(tmp_path: Path) -> None:
    """Each record: tokens so far, share since the record before, times read through, and the phase's name."""
    plan = mixed()
    values = train(plan, tmp_path)
    lines = metrics(plan, tmp_path)
    for line in lines:
        assert sources_of(line, "tokens") == drawn_up_to(line["step"])
        samples = {name: line[f"tokens/{name}"] // LENGTH for name in SIZES}
        assert sources_of(line, "epochs") == {n: pytest.approx(samples[n] / SIZES[n], abs=1e-6) for n in SIZES}
    assert [line["share/code"] for line in lines] == [6 / 8] * 4 + [5 / 8] * 2 + [4 / 8] * 2 + [2 / 8] * 4
    assert [line["phase"] for line in lines] == [n for n, (a, b, *_) in PHASES.items() for _ in range(a, b)]
    assert values["samples_per_phase"] == PLANNED
    assert values["padding_tokens_per_source"] == values["truncated_tokens_per_source"] == {"code": 0, "prose": 0}


def test_records_where_a_mix_ends(tmp_path: Path) -> None:
    """Every 5 batches, after an evaluation, and where a mix ends (not inside of a transition): no share spans two mixes."""
    plan = mixed(logging={"interval_steps": 5}, evaluation={"interval_steps": 12})
    train(plan, tmp_path)
    lines = metrics(plan, tmp_path)
    assert [line["step"] for line in lines] == [4, 5, 8, 10, 12]
    assert [line["share/code"] for line in lines] == pytest.approx([6 / 8, 5 / 8, 13 / 24, 2 / 8, 2 / 8], abs=1e-6)


def test_an_interruption_leaves_no_trace_in_the_books(tmp_path: Path) -> None:
    """Stopped inside of a transition and gone on: records, phases and sources are those of the undisturbed run."""
    plan = mixed()
    with interrupted_after(5):
        stopped = train(plan, tmp_path)
    assert stopped["samples_per_phase"] == {"phase0": PLANNED["phase0"], "phase1.00": {"code": 5, "prose": 3}}
    values = train(plan, tmp_path)
    assert values["samples_per_phase"] == PLANNED
    assert [sources_of(line, "tokens") for line in metrics(plan, tmp_path)] == [drawn_up_to(s) for s in range(1, 13)]
    assert [line["share/code"] for line in metrics(plan, tmp_path)][4:7] == [5 / 8, 5 / 8, 4 / 8]


def test_a_changed_future_is_booked_under_its_own_phases(tmp_path: Path) -> None:
    """Gone on from batch 5 under a plan that stays with the mix of the second phase: its totals hold, over both plans."""
    old, new = mixed(name="old"), mixed(name="new")
    sources = {"code": {"samples": 40, "tokens": 40 * LENGTH}, "prose": {"samples": 24, "tokens": 24 * LENGTH}}
    last = new.data.phases[1].model_dump() | {"id": "phase1", "transition": "step", "end_token": 12 * BATCH}
    data = new.data.model_copy(
        update={"phases": (new.data.phases[0], PhasePlan.model_validate({**last, "sources": sources}))}
    )
    old, new = (sealed(plan) for plan in (old, new.model_copy(update={"data": data})))
    write_plan(old, layout_of(old, tmp_path).run / "plan.yaml")
    with interrupted_after(5):
        train(old, tmp_path)
    layout = layout_of(new, tmp_path)
    layout.run.mkdir(parents=True)
    adopt(new, layout, layout_of(old, tmp_path).run)
    values = train(new, tmp_path)
    assert values["resumed_from"] == 5
    assert values["samples_per_phase"] == {"phase0": PLANNED["phase0"], "phase1": {"code": 40, "prose": 24}}
    report = data_report(new.data, {}, values)
    assert report.equal
    assert {phase.equal for phase in report.phases.values()} == {True}


def test_which_sources_may_have_padding(tmp_path: Path) -> None:
    """Only ready-made shards of tokens: for text, which is packed, the tokenizer isn't even asked."""
    (tmp_path / "tokenizer.json").write_text(
        '{"model": {"type": "WordLevel", "vocab": {"<pad>": 0}, "unk_token": "<pad>"}}'
    )
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<pad>", "eos_token": "<end>"}')
    inputs = {"tokenizer": Result("tokenizer", "0" * 64, tmp_path, {})}
    found = []
    for content in ("tokens", "text", None):
        shards = {"mds": "shards", "content": content} if content else {"builtin": "cpython-library"}
        sources = {"code": shards, "prose": {"builtin": "cpython-docs"}}
        found.append(padding_of(tiny_plan(data={"sources": sources}), inputs))
    assert found == [0, None, None]


def test_two_ranks_book_together(tmp_path: Path) -> None:
    """Under torchrun the records and the result are of both ranks."""
    plan = mixed()
    process = start(plan, tmp_path, ranks=2)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    values = json.loads(out.splitlines()[-1])
    assert values["samples_per_phase"] == PLANNED
    assert [sources_of(line, "tokens") for line in metrics(plan, tmp_path)] == [drawn_up_to(s) for s in range(1, 13)]


@pytest.mark.parametrize("truncate", [True, False])
def test_tokens_cut_off_are_counted_apart(tmp_path: Path, truncate: bool) -> None:
    """Sequences of 24 instead of 64 tokens: 40 are lost a sample, or 16 where its whole pieces are kept."""
    warmup = {
        "kind": "sequence_length_warmup", "start_length": 24, "end_length": LENGTH, "step_size": 64, "truncate": truncate,
        "window": {"start_token": 0, "end_token": 4 * BATCH},
    }  # fmt: skip
    values = train(mixed(algorithms=[warmup]), tmp_path)
    lost = 40 if truncate else 16
    assert values["truncated_tokens_per_source"] == {"code": 24 * lost, "prose": 8 * lost}
    assert values["trained_tokens"] == values["tokens"] - 32 * lost
    assert values["samples_per_phase"] == PLANNED


def test_padding_is_counted_by_source() -> None:
    """Ready-made samples filled up with the tokenizer's padding: its tokens stand apart, by source; the model sees the same."""
    ledger = Ledger(mixed(), SIZES, padding=3)
    ids = torch.tensor([[5, 6, 3, 3], [7, 3, 3, 3], [5, 5, 5, 5], [9, 3, 9, 9]])
    fed = ledger.count({"input_ids": ids, "source": torch.tensor([0, 1, 0, 1])})
    assert list(fed) == ["input_ids"]
    assert torch.equal(fed["input_ids"], ids)
    books = ledger._books
    assert books.drawn.tolist() == [2, 2]
    totals = books.totals(books.flat(), ledger._before)
    assert totals.padding == {"code": 2, "prose": 4}


def test_which_token_is_padding(tmp_path: Path) -> None:
    """A padding token of its own counts; one that is the end-of-text token too can't be told from it."""
    from tokenizers import Tokenizer, models

    vocabulary = {"<end>": 0, "<pad>": 1, "a": 2}
    Tokenizer(models.WordLevel(vocabulary, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    found = []
    for pad in ("<pad>", {"content": "<pad>"}, "<end>", None):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>", "pad_token": pad}))
        found.append(padding_id(tmp_path))
    assert found == [1, 1, None, None]
    assert padding_id(tmp_path / "nowhere") is None


def test_trackers_get_the_sources(tmp_path: Path) -> None:
    """TensorBoard has a curve of tokens, share and epochs for each source, and the phase as a number."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    plan = mixed(logging={"tensorboard": {}})
    train(plan, tmp_path)
    folder = next((layout_of(plan, tmp_path).run / "tensorboard").rglob("events.out.tfevents*")).parent
    events = module.EventAccumulator(str(folder)).Reload()
    curve = {event.step: event.value for event in events.Scalars("tokens/code")}
    assert curve == {step: drawn_up_to(step)["code"] for step in range(1, 13)}
    assert [event.value for event in events.Scalars("phase")] == [0] * 4 + [1] * 2 + [2] * 2 + [3] * 4
    assert {"share/prose", "epochs/prose"} <= set(events.Tags()["scalars"])


def test_a_line_shows_the_mix_as_far_as_it_has_room() -> None:
    """What was drawn since the line before, the largest shares first, whole; one source needs no share."""
    now, before = {"loss": 5.0, "tokens/code": 300, "tokens/prose": 500, "tokens/math": 0}, {"tokens/code": 100}
    assert shares(now, {}) == "  prose 62% code 38%"
    assert shares(now, before) == "  prose 71% code 29%"
    assert shares({"tokens/code": 100}, {}) == ""
    many = shares({f"tokens/source-{i}": 10 for i in range(10)}, {})
    assert many.endswith("\N{HORIZONTAL ELLIPSIS}")
    assert len(many) <= 36


def test_old_checkpoints_are_read(tmp_path: Path) -> None:
    """A manifest without the newer counts is whole; the run goes on, and tells what it knows."""
    from runtime import checkpoint

    plan = mixed()
    with interrupted_after(4):
        train(plan, tmp_path)
    folder = layout_of(plan, tmp_path).checkpoints
    manifest = next(folder.glob("*/checkpoint.json"))
    content = json.loads(manifest.read_text())
    for name in ("phases", "padding", "truncated"):
        del content["progress"][name]
    manifest.write_text(json.dumps(content))
    found = checkpoint.latest(folder, plan)
    assert found is not None
    assert replace(found.progress, seconds=0.0).phases == {}
    values = train(plan, tmp_path)
    assert values["samples_per_source"] == {
        name: int(np.sum([row[name] for row in PLANNED.values()])) for name in SIZES
    }
    assert values["samples_per_phase"] is None
    assert values["padding_tokens_per_source"] is None
