"""The mixture over time as exact draws: knots and transitions as phases on batch boundaries, limits of sources checked."""

from __future__ import annotations

from compiler.curricula import curricula, home
from compiler.draft import Draft
from compiler.mixing.exposure import check_limits
from compiler.mixing.knots import Span, knots, spans
from compiler.mixing.phases import phases
from compiler.mixing.upsampling import upsampled
from compiler.mixing.weights import check_weights
from compiler.provenance import Because, From, Reason
from schemas.plan import DataPlan, ImagePlan

__all__ = ["data"]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of each channel over ImageNet's training images, from 0 to 1, as torchvision's models expect."""
_GREY = ((0.5,), (0.5,))
_NORMALISED = Reason("colours by ImageNet's mean and deviation, as torchvision's models expect; grey from -1 to 1")


def data(draft: Draft) -> Draft:
    """Fill `data`. Sources are in alphabetical order, so that their order in the recipe changes nothing."""
    said = draft.recipe.data
    draft, placed = knots(check_weights(draft))
    draft, placed = upsampled(draft, placed)
    found, origins = phases(spans(placed, draft.batch.steps), draft.batch.samples, said.sequence_length)
    draft = check_limits(draft, found)
    draft, paced = curricula(draft, found)
    section = DataPlan(
        sequence_length=said.sequence_length,
        # What a source says of its order stands decided under `curricula`.
        sources={name: said.sources[name].model_copy(update={"curriculum": None}) for name in sorted(said.sources)},
        phases=found,
        shuffle_block=said.shuffle_block,
        curricula=paced,
        selection=said.selection,
        image=_image(draft),
    )
    why = {f"phases[{i}]": _because(span) for i, span in enumerate(origins)}
    why["curricula"] = Reason("the recipe gives no curriculum")
    for name in section.curricula:
        why[draft.path("curricula", name)] = From(draft.path(*home(draft, name)))
    for name in section.sources:
        why[draft.path("sources", name)] = From(draft.path("data", "sources", name))
        if draft.is_classifier and draft.spans.key("data", "sources", name, "tokens") is None:
            why[draft.path("sources", name, "tokens")] = Reason(
                "images that the source shows; null where it can't be seen"
            )
    if draft.is_classifier:
        why |= {"sequence_length": Reason("an image is one sample and counts as one token"), "image": _NORMALISED}
        why |= {
            "selection": Reason("for text"),
            **{f"image.{key}": From(f"data.image.{key}") for key in ("size", "channels")},
        }
    else:
        why["image"] = Reason("the samples are text")
    return draft.fill("data", section, why)


def _image(draft: Draft) -> ImagePlan | None:
    """How images are brought to one form."""
    if not draft.is_classifier:
        return None
    said = draft.recipe.data.image
    mean, std = _IMAGENET if said.channels == 3 else _GREY
    return ImagePlan(size=said.size, channels=said.channels, mean=mean, std=std)


def _because(span: Span) -> Because:
    """Where a phase of a span comes from."""
    if not span.place:
        return Reason("every source the same share, as the recipe gives no mixture")
    if span.transition == "step":
        return From(span.place, "share of the phase's samples by largest remainder; phases end on batch boundaries")
    return From(span.place, f"a piece of the {span.transition} transition: its integral, rounded to whole samples")
