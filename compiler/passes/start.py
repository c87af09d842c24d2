"""The trained weights that a run begins with: an earlier run's, a folder's or the hub's. Dimensions and tokenizer follow them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from compiler.classification import names_of
from compiler.draft import Draft
from compiler.frontend.sequence import PREVIOUS
from compiler.lineage.classifiers import NoClassifierError
from compiler.lineage.pretrained import hub_folder
from compiler.notes import Beginning
from compiler.passes import start_images, start_text
from compiler.passes.targets import FALLBACK_PARAMETERS
from compiler.provenance import From, Reason, lookup
from schemas.diagnostics import Diagnostic, Severity
from schemas.model import Model, Start
from schemas.plan import ModelPlan, ResNetPlan, RunPlan, StartPlan
from schemas.units import format_count

__all__ = ["start"]

# Keys of the recipe's model that trained weights leave open: how they are computed, and what regularises their training.
_OPEN: Final = frozenset({"start", "size", "attention", "dropout", "init_std"})
_FOLDER: Final = "start: models/base   # a folder of transformers' `save_pretrained`"
_SIZE_TOLERANCE: Final = 0.25


def start(draft: Draft) -> Draft:
    """Fill `start`, note the `beginning`, and write its dimensions into the draft's recipe, for the passes that size things."""
    said = draft.recipe.model.start
    if said is None:
        return _fill(
            draft, None, None, "the recipe names no trained weights (`model.start`): random ones from the seed"
        )
    if said.run is not None:
        return _from_run(draft, said.run)
    return _from_folder(draft, said)


def _fill(draft: Draft, section: StartPlan | None, beginning: Beginning | None, reason: str = "") -> Draft:
    draft = draft.note("beginning", beginning)
    return draft.fill("start", section, {"": Reason(reason) if reason else From("model.start")})


def _unusable(draft: Draft) -> Draft:
    """After an error about the start, later passes go on with a model of a usual size, so that their findings come too."""
    said = draft.recipe.model
    if not draft.is_classifier and said.size is None and None in (said.hidden_size, said.num_layers):
        model = said.model_copy(update={"size": FALLBACK_PARAMETERS})
        draft = replace(draft, recipe=draft.recipe.model_copy(update={"model": model}))
    return _fill(draft, None, None, "an error of the recipe")


def _plan(kind: str, said: Start, run: RunPlan | None = None) -> StartPlan:
    """The section of the plan; a run is named by its id and pinned by its fingerprint."""
    return StartPlan.model_validate(
        {
            "kind": kind,
            "run": run.run if run is not None else None,
            "fingerprint": run.fingerprint if run is not None else None,
            "folder": said.folder,
            "hub": said.hub,
            "revision": said.revision,
        }
    )


def _from_run(draft: Draft, name: str) -> Draft:
    run = draft.run_named(name)
    if run is None and name == PREVIOUS and draft.run is not None and not draft.earlier:
        return _fill(draft, None, None, "the first run of a sequence has no previous one: random weights from the seed")
    if run is None:
        return _unusable(draft.find(_no_such_run(draft, name)))
    if isinstance(run.model, ResNetPlan) is not draft.is_classifier:
        return _unusable(draft.find(_other_objective(draft, run)))
    classes = names_of(run.data.sources, draft.roots) if draft.is_classifier else None
    beginning = Beginning(f"the run `{run.run}`", run.model, run.tokenizer, run, classes or ())
    draft = _completed(draft, beginning)
    return _fill(draft, _plan("run", draft.recipe.model.start or Start(run=name), run), beginning)


def _no_such_run(draft: Draft, name: str) -> Diagnostic:
    """Why a name leads to no earlier run, with the closest one that does."""
    from compiler.frontend.suggest import closest

    before = [str(run.run) for run in draft.earlier]
    near = closest(name, before)
    if draft.run is None:
        message, help_ = f"there is no run `{name}`: the recipe has no `sequence`", "start: {folder: runs/base/export}"
    elif name in draft.order or name == PREVIOUS:
        place = "itself" if name == draft.run else "a later run"
        message = (
            f"`{name}` is {place}, and a run starts from an earlier one" if name != PREVIOUS else "no run is before"
        )
        help_ = f"run: {before[-1]}" if before else "delete this line, or move the run down in `sequence`"
    else:
        message = f"there is no run `{name}` in `sequence`"
        help_ = f"run: {near or (before[-1] if before else PREVIOUS)}"
    label = f"did you mean `{near}`?" if near else ""
    reason = f"earlier runs: {', '.join(before)}" if before else ""
    return draft.diagnostic("RC206", message, "model", "start", "run", help=help_, label=label, reason=reason)


def _other_objective(draft: Draft, run: RunPlan) -> Diagnostic:
    """The finding that a language model is to become a classifier, or the reverse."""
    theirs, ours = run.objective.kind, draft.recipe.objective.kind
    message = f"the run `{run.run}` learns {theirs}, this one {ours}: its weights are of another kind of model"
    return draft.diagnostic("RC207", message, "model", "start", "run", help="delete this line")


def _from_folder(draft: Draft, said: Start) -> Draft:
    name = str(said.folder or said.hub)
    section = _plan("folder" if said.folder is not None else "hub", said)
    folder = _seen(draft, said)
    if folder is None:
        draft = _unseen(draft, said, name)
        wrong = any(finding.severity is Severity.ERROR for finding in draft.findings)
        return _unusable(draft) if wrong else _fill(draft, section, Beginning(f"`{name}`", None, None))
    of_folder = start_images.of_folder if draft.is_classifier else start_text.of_folder
    try:
        beginning = of_folder(draft, folder, said)
    except (NoClassifierError, start_text.NoDecoderError) as error:
        help_ = "start: runs/base/export   # the export of a classifier's run" if draft.is_classifier else _FOLDER
        return _unusable(draft.find(_at(draft, said, f"`{name}` can't be started from", str(error), help_)))
    return _fill(_completed(draft, beginning), section, beginning)


def _seen(draft: Draft, said: Start) -> Path | None:
    """The folder on this machine, or None."""
    if said.hub is not None:
        return hub_folder(said.hub, said.revision)
    return next((place for root in draft.roots if (place := root / str(said.folder)).is_dir()), None)


def _unseen(draft: Draft, said: Start, name: str) -> Draft:
    """Findings about weights that only the machine of the run will see: the recipe must say all their dimensions."""
    dimensions = start_images.DIMENSIONS if draft.is_classifier else start_text.DIMENSIONS
    missing = [key for key in dimensions if getattr(draft.recipe.model, key) is None]
    absolute = said.folder is None or Path(said.folder).is_absolute()
    where = "in this machine's cache of the hub, which is not asked" if said.hub is not None else "on this machine"
    message = f"the weights `{name}` are not {where}"
    if missing and absolute:
        reason = "dimensions follow the weights where these can be seen; else the recipe says " + ", ".join(missing)
        help_ = f"model: {{start: ..., {', '.join(f'{key}: ...' for key in missing)}}}"
        return draft.find(_at(draft, said, message, reason, help_, code="RC207"))
    help_ = "check the path; relative ones are looked up beside the recipe, then in the current folder"
    if said.folder == PREVIOUS or said.folder in draft.order:
        help_ = f"start: {{run: {said.folder}}}   # a run of `sequence`; a text alone is a folder"
    if said.hub is not None:
        return draft
    severity = Severity.WARNING if absolute else Severity.ERROR
    return draft.find(_at(draft, said, message, "", help_, code="RC401", severity=severity))


def _at(
    draft: Draft,
    said: Start,
    message: str,
    reason: str,
    help_: str = _FOLDER,
    *,
    code: str = "RC207",
    severity: Severity = Severity.ERROR,
) -> Diagnostic:
    key = "folder" if said.folder is not None else "hub"
    return draft.diagnostic(code, message, "model", "start", key, help=help_, reason=reason, severity=severity)


def _completed(draft: Draft, beginning: Beginning) -> Draft:
    """The draft whose recipe has the start's dimensions; a finding for each that the recipe says otherwise.

    In a sequence, dimensions that all runs share are those of runs without a start: only what the run says itself counts.
    """
    model, said = beginning.model, draft.recipe.model
    assert model is not None
    dimensions = {key: value for key, value in _dimensions(model).items() if key not in _OPEN}
    for key, value in dimensions.items():
        if draft.says("model", key) and (own := getattr(said, key)) not in (None, value):
            draft = draft.find(_differs(draft, beginning, key, own, value))
    if isinstance(model, ResNetPlan):
        draft = start_images.follow(draft, beginning, model)
    else:
        draft = start_text.follow(_size(draft, beginning), beginning, model)
    recipe = draft.recipe.model_copy(update={"model": said.model_copy(update={**dimensions, "size": None})})
    return replace(draft, recipe=recipe)


def _dimensions(model: ModelPlan | ResNetPlan) -> dict[str, Any]:
    """Values of a plan's model under the keys of a recipe's."""
    return {key: getattr(model, key) for key in Model.model_fields if key in type(model).model_fields}


def _differs(draft: Draft, beginning: Beginning, key: str, own: object, value: object) -> Diagnostic:
    reason = f"trained weights have the dimensions that they were trained with: {beginning.name} has {key} {value}"
    if beginning.run is not None:
        origin = lookup(beginning.run.provenance, ("model", key))
        reason += f" ({origin.where})" if origin is not None and origin.origin == "recipe" else ""
    shown = str(value).lower() if isinstance(value, bool) else value
    help_ = f"{key}: {shown}   # or delete the line: dimensions follow the start"
    message = f"`model.{key}` is {own}, and the run starts from {beginning.name} with {value}"
    return draft.diagnostic("RC207", message, "model", key, help=help_, reason=reason)


def _size(draft: Draft, beginning: Beginning) -> Draft:
    wanted, model = draft.recipe.model.size, beginning.model
    assert model is not None
    if not isinstance(wanted, int) or not draft.says("model", "size"):
        return draft
    if abs(model.num_parameters - wanted) <= _SIZE_TOLERANCE * wanted:
        return draft
    size = format_count(model.num_parameters)
    message = f"`model.size` is {format_count(wanted)}, and the run starts from {beginning.name} with {size} parameters"
    return draft.find(draft.diagnostic("RC207", message, "model", "size", help=f"size: {size}   # or delete the line"))
