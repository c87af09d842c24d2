"""Weights of sources: findings about names and sums, and the exact shares that they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from compiler.apportion import apportion
from compiler.draft import Draft
from compiler.frontend.suggest import closest
from schemas.diagnostics import Severity

__all__ = ["Shares", "check_weights", "even", "exact", "mixed_by_default", "written"]

Shares = Mapping[str, Fraction]
"""Exact share of tokens of each source; they sum to 1."""

_SUM_TOLERANCE = 1e-6


def even(names: Iterable[str]) -> Shares:
    """Every source the same share."""
    found = list(names)
    return {name: Fraction(1, len(found)) for name in found}


def exact(weights: Mapping[str, float], names: Iterable[str]) -> Shares:
    """The decimals that the recipe wrote as fractions, over those of `names` that have a weight; all the same if none has."""
    known = {name: Fraction(str(weights[name])) for name in names if weights.get(name, 0.0) > 0}
    total = sum(known.values())
    return {name: weight / total for name, weight in known.items()} if known else even(names)


def written(weights: Mapping[str, float]) -> str:
    """The weights in the same proportions, in 1/10000ths that sum to 1, as a recipe writes them."""
    shares = apportion(10_000, weights if any(weights.values()) else dict.fromkeys(weights, 1.0))
    return f"{{{', '.join(f'{name}: {shares[name] / 10_000:g}' for name in weights)}}}"


def check_weights(draft: Draft) -> Draft:
    """Findings about the names and sums of all weights, of knots and of domain upsampling, and about sources without any."""
    said, used = draft.recipe.data, set[str]()
    for i, knot in enumerate(said.mixture):
        used |= set(knot.weights)
        draft = _checked(draft, knot.weights, "data", "mixture", i, "weights")
    if (upsampling := said.domain_upsampling) is not None:
        used |= set(upsampling.weights)
        draft = _checked(draft, upsampling.weights, "data", "domain_upsampling", "weights")
        for i, name in enumerate(upsampling.keep_sources):
            if name not in said.sources:
                draft = _unknown(draft, name, "data", "domain_upsampling", "keep_sources", i)
    draft = _retained(draft)
    for name in said.sources if said.mixture else ():
        if name not in used and name not in draft.recipe.evaluation.retention:
            draft = draft.find(
                draft.diagnostic(
                    "RC402",
                    f"no knot of the mixture draws from `{name}`",
                    "data", "sources", name,
                    help=f"give `{name}` a weight, or delete the source",
                )
            )  # fmt: skip
    return draft


def mixed_by_default(draft: Draft) -> tuple[str, ...]:
    """Sources that a recipe without a mixture draws from: all but those that it only measures what is forgotten of."""
    sources, retained = draft.recipe.data.sources, draft.recipe.evaluation.retention
    return tuple(name for name in sources if name not in retained) or tuple(sources)


def _retained(draft: Draft) -> Draft:
    """Findings about the names of sources that are measured for what the training forgets."""
    for i, name in enumerate(draft.recipe.evaluation.retention):
        if name not in draft.recipe.data.sources:
            draft = _unknown(draft, name, "evaluation", "retention", i)
    # The first run of a sequence may have what later ones measure.
    if draft.recipe.evaluation.retention and draft.recipe.model.start is None and draft.run is None:
        draft = draft.find(
            draft.diagnostic(
                "RC203",
                "random weights know nothing that could be forgotten",
                "evaluation",
                "retention",
                help="model: {start: models/base}   # or delete `retention`",
                severity=Severity.WARNING,
            )
        )
    return draft


def _checked(draft: Draft, weights: Mapping[str, float], *path: str | int) -> Draft:
    for name in weights:
        if name not in draft.recipe.data.sources:
            draft = _unknown(draft, name, *path, name)
    total = sum(weights.values())
    if abs(total - 1) > _SUM_TOLERANCE:
        message = f"the weights sum to {total:.6g}"
        draft = draft.find(draft.diagnostic("RC403", message, *path, help=f"weights: {written(weights)}"))
    return draft


def _unknown(draft: Draft, name: str, *path: str | int) -> Draft:
    names = draft.recipe.data.sources
    guess = closest(name, names)
    places = {"domain_upsampling": "domain upsampling", "evaluation": "retention"}
    where = next((place for key, place in places.items() if key in path), "the mixture")
    return draft.find(
        draft.diagnostic(
            "RC402",
            f"{where} names `{name}`, which is not a source",
            *path,
            help=f"sources are: {', '.join(names)}",
            label=f"did you mean `{guess}`?" if guess else "",
        )
    )
