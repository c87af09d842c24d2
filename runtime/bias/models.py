"""Which models a comparison is between: the reference, the trained model, what is shipped, and replicates of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from runtime.bias.folder import folder_of_reference
from runtime.compression.shipping import load_shipped
from runtime.errors import DataError, RunFailed
from runtime.layout import Layout
from runtime.lineage import earlier, trained_key
from runtime.models.class_names import check_classes
from runtime.models.folders import check_tokenizer, content
from runtime.models.frozen import described_resnet, load_frozen, load_frozen_resnet
from runtime.models.planned import load_trained
from runtime.models.start import load_start, start_content
from runtime.record import read_record
from schemas.evaluation import BiasPlan
from schemas.plan import RunPlan

__all__ = ["Load", "pins", "reference", "stages"]

Load = Callable[[], nn.Module]
"""Reads a model when it is its turn: one of them is in memory at a time."""


def reference(
    bias: BiasPlan, plan: RunPlan, layout: Layout, tokenizer: Path | None, classes: Sequence[str] = ()
) -> Load:
    """The model that is compared with.

    Args:
        bias: says which.
        plan: of this run, with those before it.
        layout: of this run.
        tokenizer: folder of this run's tokenizer, which the reference must share; None where there is no text.
        classes: names of a classifier's classes, which the reference must share.

    Raises:
        DataError: there is no such folder (RC401), or its tokenizer (RC406) or its classes (RC416) are others.
    """
    if bias.against == "uncompressed":
        return lambda: load_trained(plan, layout)
    if bias.against == "run":
        before, place = earlier(str(bias.run), plan, layout)
        _check_data(str(bias.run), plan, layout)
        return lambda: load_trained(before, place)
    if bias.against == "start" and plan.start is not None and plan.start.kind == "run":
        start, its_place = earlier(str(plan.start.run), plan, layout)
        return lambda: load_trained(start, its_place)
    if bias.against == "start":
        return lambda: load_start(plan, layout)
    folder = folder_of_reference(bias, layout.roots)
    if plan.is_classifier:
        check_classes(folder, "the reference", classes)
        return lambda: _classifier(folder, plan)
    if tokenizer is not None:
        check_tokenizer(folder, tokenizer, "the reference")
    return lambda: load_frozen(folder, "the reference")


def _classifier(folder: Path, plan: RunPlan) -> nn.Module:
    """A classifier from outside, which must tell the same classes apart in images of the same channels.

    Raises:
        DataError: it can't be loaded (RC401), or it has other outputs (RC416) or channels (RC203).
    """
    theirs, ours = described_resnet(folder, "the reference"), plan.resnet
    if theirs.num_classes != ours.num_classes:
        message = f"the reference in {folder} has {theirs.num_classes:,} classes, the model {ours.num_classes:,}"
        raise DataError("RC416", message, "compare with a classifier of the same classes")
    if theirs.channels != ours.channels:
        message = f"the reference in {folder} reads images of {theirs.channels} channels, the model of {ours.channels}"
        raise DataError("RC203", message, "compare with a classifier of the same kind of images")
    return load_frozen_resnet(folder, "the reference")


def stages(bias: BiasPlan, plan: RunPlan, layout: Layout) -> dict[str, tuple[Load, ...]]:
    """The models that are compared, by stage: `trained`, then `shipped` where that is another one; replicates in each.

    The last stage is the one that is exported, and that the gate judges.
    """
    runs = [(plan, layout)]
    for name in bias.replicates:
        _check_data(name, plan, layout)
        runs.append(earlier(name, plan, layout))
    found: dict[str, tuple[Load, ...]] = {}
    if bias.against != "uncompressed":
        found["trained"] = tuple(_loader(load_trained, *run) for run in runs)
    if _ships(plan):
        found["shipped"] = tuple(_loader(load_shipped if _ships(run[0]) else load_trained, *run) for run in runs)
    return found


def _ships(plan: RunPlan) -> bool:
    """Whether what is exported is another model than what was trained."""
    return any(step.kind == "compress" for step in plan.steps)


def _loader(load: Callable[[RunPlan, Layout], nn.Module], plan: RunPlan, layout: Layout) -> Load:
    return lambda: load(plan, layout)


def pins(bias: BiasPlan, plan: RunPlan, layout: Layout) -> dict[str, Any]:
    """What names the content of the reference and of replicates: keys of trainings, hashes of files.

    Raises:
        DataError: there is no such folder (RC401).
        RunFailed: an earlier run has not been trained to its end (RC606).
    """
    found: dict[str, Any] = {name: trained_key(name, plan, layout) for name in bias.replicates}
    if bias.against == "run":
        found["reference"] = trained_key(str(bias.run), plan, layout)
    elif bias.against == "folder":
        found["reference"] = content(folder_of_reference(bias, layout.roots))
    elif bias.against == "start":
        found["reference"] = start_content(plan, layout)
    return found


def _check_data(name: str, plan: RunPlan, layout: Layout) -> None:
    """Refuse an earlier run whose token ids mean other words.

    Raises:
        DataError: it has another tokenizer (RC406).
        RunFailed: it has none yet (RC606).
    """
    if plan.tokenizer is None:
        return
    before, place = earlier(name, plan, layout)
    theirs, ours = (read_record(where.step_result("tokenizer")) for where in (place, layout))
    if theirs is None or ours is None:
        raise RunFailed("RC606", f"the run `{name}` has no tokenizer yet", f"run it first: --run {name}")
    if theirs.values.get("content_sha256", theirs.key) != ours.values.get("content_sha256", ours.key):
        raise DataError(
            "RC406",
            f"the run `{name}` ({before.name}) has another tokenizer than this one, so their tokens can't be compared",
            "give both runs the same sources for the tokenizer, or start this run from that one",
        )
