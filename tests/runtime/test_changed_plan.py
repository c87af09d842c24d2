"""Runs whose plan changed on the way: what was drawn stays drawn, the rest is the new plan's, and the past is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime.data.planned_dataset import PlannedDataset
from runtime.errors import Refused
from runtime.execute import execute
from runtime.record import ADOPTED, read_record, write_record
from runtime.resume import adopt
from schemas.plan import RunPlan
from schemas.resume import last_step
from tests.runtime.interruption import interrupted_after
from tests.runtime.plans import light_modules, sealed, sealed_plan, write_plan
from tests.runtime.training_case import LENGTH, SIZES, layout_of, metrics, plan_of, train

STEP = 8 * LENGTH
Drawn = list[tuple[int, int]]
"""(source, id) of each sample in the order of reading."""


def plan(name: str, *phases: tuple[int, Mapping[str, int]], **changes: Any) -> RunPlan:
    """A sealed plan of phases, each given as steps and samples by source."""
    found: list[dict[str, Any]] = []
    start = 0
    for number, (steps, counts) in enumerate(phases):
        assert sum(counts.values()) == steps * 8
        shares = {source: {"samples": n, "tokens": n * LENGTH} for source, n in counts.items() if n}
        end = start + steps * STEP
        found.append({"id": f"phase{number}", "start_token": start, "end_token": end, "sources": shares})
        start = end
    data = {"phases": found, **changes.pop("data", {})}
    checkpoints = {"interval_steps": 4, "keep": 9, **changes.pop("checkpoints", {})}
    made = plan_of(start // STEP, name=name, data=data, checkpoints=checkpoints, **changes)
    return sealed(made)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Training samples as they are read, but for the one of each source that is looked at before a run."""
    found: Drawn = []
    original = PlannedDataset.__iter__

    def read(dataset: PlannedDataset) -> Iterator[Any]:
        get = dataset.get_item

        def item(sample_id: int, retry: int = 7) -> Any:
            sample = get(sample_id, retry)
            if sample[1] >= 0:  # held-out ones have no source
                found.append((sample[1], sample_id))
            return sample

        monkeypatch.setattr(dataset, "get_item", item)
        yield from original(dataset)

    monkeypatch.setattr(PlannedDataset, "__iter__", read)
    return found


def of_source(drawn: Sequence[tuple[int, int]], source: int) -> list[int]:
    """Ids of one source's training samples."""
    return [sample for number, sample in drawn if number == source]


def start(old: RunPlan, folder: Path, *, stop: int | None = None) -> None:
    """Train the old plan, to its end or up to a step, in a run folder as `recipec run` leaves it."""
    write_plan(old, layout_of(old, folder).run / "plan.yaml")
    if stop is None:
        train(old, folder)
        return
    with interrupted_after(stop):
        train(old, folder)


def go_on(new: RunPlan, old: RunPlan, folder: Path) -> dict[str, Any]:
    """Take the old run's checkpoint over, and train the new plan to its end."""
    layout = layout_of(new, folder)
    layout.run.mkdir(parents=True)
    adopt(new, layout, layout_of(old, folder).run)
    return train(new, folder)


# 24 steps of one mix; then from step 12 on another one, which is longer, with a knot at step 5 that changes nothing.
OLD = plan("old", (24, {"code": 145, "prose": 47}))
NEW = plan("new", (5, {"code": 30, "prose": 10}), (7, {"code": 42, "prose": 14}), (18, {"code": 37, "prose": 107}))


@pytest.mark.parametrize("stop", [3, 7, 11])
def test_a_changed_future_goes_on_where_each_source_was(tmp_path: Path, drawn: Drawn, stop: int) -> None:
    """Every source's samples are those of a run that had the new plan from the start, in its order; totals are the plan's."""
    assert last_step(OLD, NEW) == 12
    start(OLD, tmp_path, stop=stop)
    first = drawn[: stop * 8]
    drawn.clear()
    values = go_on(NEW, OLD, tmp_path)
    assert (values["status"], values["steps"], values["resumed_from"]) == ("finished", 30, stop)
    assert values["samples_per_source"] == {"code": 109, "prose": 131}
    together = [*first, *drawn]
    assert len(together) == 30 * 8
    for number, name in enumerate(("code", "prose")):
        ids, size = of_source(together, number), SIZES[name]
        for begin in range(0, len(ids), size):
            assert len(set(ids[begin : begin + size])) == len(ids[begin : begin + size])
    drawn.clear()
    train(NEW.model_copy(update={"name": "straight"}), tmp_path)
    for number in (0, 1):
        assert of_source(together, number) == of_source(drawn, number)
    assert [line["step"] for line in metrics(NEW, tmp_path)] == list(range(1, 31))


def test_the_newest_checkpoint_before_the_mixtures_part_is_taken(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The old run came to step 24, and the mixtures part after 12: that checkpoint is taken, and it is said why."""
    start(OLD, tmp_path)
    values = go_on(NEW, OLD, tmp_path)
    assert (values["resumed_from"], values["steps"]) == (12, 30)
    assert values["samples_per_source"] == {"code": 109, "prose": 131}
    said = "".join(capfd.readouterr())
    assert "up to step 12 can be continued, where the mixtures part; ba00000024 can't" in said


def test_a_checkpoint_that_has_drawn_too_much_is_passed_over(tmp_path: Path) -> None:
    """A run that was itself continued may be a sample ahead of its plan; what can't be met exactly any more isn't begun."""
    start(OLD, tmp_path)
    manifest = layout_of(OLD, tmp_path).checkpoints / "ba00000012" / "checkpoint.json"
    said = json.loads(manifest.read_text())
    total = sum(phase.sources["code"].samples for phase in NEW.data.phases)
    said["progress"]["samples"]["code"] = total + 1
    manifest.write_text(json.dumps(said))
    layout = layout_of(NEW, tmp_path)
    adopt(NEW, layout, layout_of(OLD, tmp_path).run)
    assert [path.name for path in layout.checkpoints.iterdir()] == ["ba00000008"]


def test_a_shorter_and_a_longer_run_keep_their_offsets(tmp_path: Path) -> None:
    """A run that goes on for longer than planned ends with the longer plan's draws; one cut short, with the shorter's."""
    start(OLD, tmp_path)
    longer = plan("longer", (40, {"code": 241, "prose": 79}))
    assert go_on(longer, OLD, tmp_path)["samples_per_source"] == {"code": 241, "prose": 79}
    shorter = plan("shorter", (18, {"code": 109, "prose": 35}))
    values = go_on(shorter, OLD, tmp_path)
    assert (values["resumed_from"], values["samples_per_source"]) == (16, {"code": 109, "prose": 35})


def test_a_source_that_comes_in_later(tmp_path: Path) -> None:
    """The old run has never heard of `prose`; the checkpoint's books go on without a word of it."""
    tokenizer = {"kind": "pretrained", "path": "tok"}
    code = {"sources": {"code": {"builtin": "cpython-library"}}}
    old = plan("old", (12, {"code": 96}), data=code, tokenizer=tokenizer)
    new = plan("new", (8, {"code": 64}), (4, {"code": 16, "prose": 16}), tokenizer=tokenizer)
    start(old, tmp_path)
    values = go_on(new, old, tmp_path)
    assert (values["resumed_from"], values["samples_per_source"]) == (8, {"code": 80, "prose": 16})


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (plan("new", (4, {"code": 8, "prose": 24}), (20, {"code": 120, "prose": 40})), "the order of the samples"),
        # 145 / 192 of two batches are 12.08 samples of code, so 13 may have come: more than all of the new plan.
        (plan("new", (2, {"code": 12, "prose": 4}), (22, {"prose": 176})), "the mixtures part after step 1"),
        (plan("new", (2, {"code": 13, "prose": 3}), (22, {"prose": 176})), "the mixtures part after step 2"),
        (plan("new", (24, {"code": 145, "prose": 47}), seed=18), "seed: the order of the data"),
        (plan("new", (24, {"code": 145, "prose": 47}), data={"shuffle_block": 3}), "data.shuffle_block: the order"),
    ],
)
def test_another_past_is_refused_with_its_reason(tmp_path: Path, new: RunPlan, reason: str) -> None:
    """No checkpoint of the old run is of a step that the new plan shares; nothing is written."""
    start(OLD, tmp_path, stop=6)
    with pytest.raises(Refused, match=reason) as caught:
        adopt(new, layout_of(new, tmp_path), layout_of(OLD, tmp_path).run)
    assert caught.value.code == "RC602"
    assert not layout_of(new, tmp_path).checkpoints.exists()


def test_a_checkpoint_put_there_by_hand_is_refused(tmp_path: Path) -> None:
    """Only a comparison of both plans knows what may go on: a copied folder is answered with the option that compares."""
    start(OLD, tmp_path, stop=3)
    layout = layout_of(NEW, tmp_path)
    layout.run.mkdir(parents=True)
    layout_of(OLD, tmp_path).checkpoints.rename(layout.checkpoints)
    with pytest.raises(Refused, match="was made by another plan") as caught:
        train(NEW, tmp_path)
    assert "--resume-from" in caught.value.remedy


def test_a_run_that_was_taken_over_can_be_taken_over_again(tmp_path: Path) -> None:
    """The manifest names the plan that goes on, and who made it first; the original stays as it was."""
    start(OLD, tmp_path, stop=3)
    original = layout_of(OLD, tmp_path).checkpoints / "ba00000003" / "checkpoint.json"
    before = original.read_bytes()
    second = plan("second", (30, {"code": 181, "prose": 59}))
    write_plan(second, layout_of(second, tmp_path).run / "plan.yaml")
    adopt(second, layout_of(second, tmp_path), layout_of(OLD, tmp_path).run)
    assert original.read_bytes() == before
    third = plan("third", (27, {"code": 163, "prose": 53}))
    values = go_on(third, second, tmp_path)
    assert (values["resumed_from"], values["samples_per_source"]) == (3, {"code": 163, "prose": 53})


def test_data_of_an_adopted_run(tmp_path: Path) -> None:
    """Its sources must be what they were; one that it did not have is no change, and of a run's own it would be one."""
    alone = [step for step in plan_of().steps if step.id != "prepare-prose"]
    steps = [
        {**step.model_dump(), "inputs": [name for name in step.inputs if name != "prepare-prose"]} for step in alone
    ]
    phase = {"id": "phase0", "start_token": 0, "end_token": 12 * STEP}
    draws = {"code": {"samples": 96, "tokens": 96 * LENGTH}}
    data = {"sources": {"code": {"builtin": "cpython-library"}}, "phases": [{**phase, "sources": draws}]}
    old = sealed_plan(data=data, steps=steps)
    new = plan("new", (8, {"code": 64}), (4, {"code": 16, "prose": 16}))
    modules, find = light_modules()
    execute(old, layout_of(old, tmp_path), modules=find)
    record = read_record(layout_of(old, tmp_path).step_result("train"))
    assert record is not None
    assert set(record.inputs) == {"tokenizer", "prepare-code"}
    layout = layout_of(new, tmp_path)
    (layout.checkpoints / "ba00000008").mkdir(parents=True)
    adopted = record.model_copy(update={"key": ADOPTED, "values": {"status": "started"}})
    write_record(layout.step_result("train"), adopted)
    assert execute(new, layout, modules=find).state == "finished"
    modules["prepare"].given_identity = "v2"
    for key in (ADOPTED, record.key):
        write_record(layout.step_result("train"), adopted.model_copy(update={"key": key}))
        with pytest.raises(Refused, match="prepare-code") as caught:
            execute(new, layout, modules=find)
        assert ("prepare-prose" in str(caught.value)) == (key != ADOPTED)
