"""`--resume-from`: go on from the newest checkpoint of another run that the two plans allow to be continued."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from pathlib import Path

from runtime.checkpoint import folder_name, hand_over, newest_whole
from runtime.errors import Refused
from runtime.files import atomic_folder, write_bytes
from runtime.layout import Layout
from runtime.load import load_plan
from runtime.record import ADOPTED, read_record, write_record
from runtime.status import say
from schemas.plan import RunPlan
from schemas.resume import last_step, resume_conflicts

__all__ = ["adopt"]


def adopt(plan: RunPlan, layout: Layout, other: Path) -> None:
    """Give this run the newest whole checkpoint of the run folder `other` that it may go on from, if it has none of its own.

    The newest ones are passed over where their plan's mixture had already parted from this one's.
    Checkpoint files are hard-linked where the file system can, since they are only ever read and removed. With them
    come the metrics so far, what they cost, and the note on which data the training began, so that other data is found out.

    Raises:
        Refused: `other` is no run, holds no whole checkpoint, or none that this plan can continue (RC602).
        DataError: its plan is damaged (RC605).
    """
    if any(layout.checkpoints.glob("ba*")):
        say(f"this run has checkpoints of its own; --resume-from {other} is not needed")
        return
    found = _continued(plan, other)
    train = next(step.id for step in plan.steps if step.kind == "train")
    began = read_record(other / "steps" / f"{train}.json")
    if began is not None:
        values = {"status": "started"}
        write_record(layout.step_result(train), began.model_copy(update={"key": ADOPTED, "values": values}))
    # What the checkpoint has cost counts towards this plan's caps too.
    for name in (layout.metrics.name, layout.spend.name):
        if (other / name).is_file() and not (layout.run / name).exists():
            write_bytes(layout.run / name, (other / name).read_bytes())
    with atomic_folder(layout.checkpoints / found.name) as folder:
        shutil.copytree(found, folder, dirs_exist_ok=True, copy_function=_link)
        hand_over(folder, plan)
    is_last = found.name == folder_name(plan.training.steps)
    say(f"goes on from {found}" + (", which is the last step: nothing is left to train" if is_last else ""))


def _continued(plan: RunPlan, other: Path) -> Path:
    """The newest whole checkpoint of a run that this plan may go on from."""
    newest = newest_whole(other / "checkpoints")
    if newest is None or not (other / "plan.yaml").is_file():
        raise Refused(
            "RC602",
            f"{other} holds no run with a checkpoint that is whole",
            "give the folder of a run, the one with plan.yaml and checkpoints/ in it",
        )
    old = load_plan(other / "plan.yaml")
    last = last_step(old, plan)
    # A run that was itself continued may be a sample off its own plan; past the whole of this one there is no way on.
    room: Counter[str] = Counter()
    for phase in plan.data.phases:
        room.update({name: share.samples for name, share in phase.sources.items()})
    found = newest_whole(other / "checkpoints", at_most=last, room=room)
    if found is None:
        token = int(newest.name.removeprefix("ba")) * old.training.global_batch_tokens
        conflicts = resume_conflicts(old, plan, token) or (
            ("data.phases", "it has drawn more of a source than this plan"),
        )
        reasons = "; ".join(f"{path}: {reason}" for path, reason in conflicts)
        older = f", and it has no checkpoint up to step {last}" if last else ""
        raise Refused(
            "RC602",
            f"this plan can't go on from {other}: {reasons}{older}",
            "start anew without --resume-from; `recipec diff` compares the two plans in full",
        )
    if found != newest:
        say(f"checkpoints of {other} up to step {last} can be continued, where the mixtures part; {newest.name} can't")
    return found


def _link(source: str, target: str) -> None:
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
