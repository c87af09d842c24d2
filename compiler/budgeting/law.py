"""Which scaling law a recipe means: a published fit, constants of its own, or a fit to the user's runs."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import NamedTuple

from compiler.draft import Draft
from compiler.estimate.law.data import MAX_BYTES, Fault, Runs, enough, read_runs
from compiler.estimate.law.fit import Fit, fit
from compiler.estimate.law.scaling_law import LAWS, ScalingLaw
from schemas.budget import Law, ScalingLawName
from schemas.diagnostics import Diagnostic, Span
from schemas.plan import LawPlan

__all__ = ["DEFAULT_LAW", "Known", "known_law"]

DEFAULT_LAW: ScalingLawName = "besiroglu"
"""Recovers the published compute-optimal choice (70B on 1.4T tokens), which Hoffmann et al.'s own constants don't."""

_MOST_FAULTS = 5


class Known(NamedTuple):
    """A law with what is known of its making."""

    law: ScalingLaw
    plan: LawPlan
    fit: Fit | None


def known_law(draft: Draft) -> tuple[Draft, Known]:
    """The law of the recipe, with findings about the runs that it is to be fitted to; then the default goes on."""
    said = draft.recipe.budget.scaling_law
    if said.fit is not None:
        return _fitted(draft, said, said.fit)
    if said.alpha is not None:
        law = _given(said)
        if _sane(law):
            return draft, _known(law)
        finding = draft.diagnostic(
            "RC306",
            "these constants don't describe language models",
            "budget",
            "scaling_law",
            help=f"scaling_law: {DEFAULT_LAW}   # or constants of a fit",
            reason="under them 125M parameters are not compute-optimal for any number of tokens from 1M to 1000T",
        )
        return draft.find(finding), _known(LAWS[DEFAULT_LAW])
    return draft, _known(LAWS[said.name or DEFAULT_LAW])


def _known(law: ScalingLaw, runs: Runs | None = None, made: Fit | None = None) -> Known:
    plan = LawPlan(
        e=law.e,
        a=law.a,
        b=law.b,
        alpha=law.alpha,
        beta=law.beta,
        source=law.source,
        num_runs=len(runs.rows) if runs else None,
        sha256=runs.sha256 if runs else None,
    )
    return Known(law, plan, made)


def _given(said: Law) -> ScalingLaw:
    """Constants of the recipe; nothing is known of the data behind them, so nothing is said to lie outside."""
    e, a, b, alpha, beta = (value or 0.0 for value in (said.e, said.a, said.b, said.alpha, said.beta))
    return ScalingLaw("constants", e, a, b, alpha, beta, 0.0, math.inf, math.inf, "the recipe's own constants")


def _sane(law: ScalingLaw) -> bool:
    """Whether a usual model has a usual number of tokens: what is far from it breaks more than it says."""
    try:
        return 1e6 < law.chinchilla_from_parameters(125e6).tokens < 1e15
    except OverflowError:
        return False


_fit = functools.lru_cache(maxsize=4)(fit)


def _fitted(draft: Draft, said: Law, name: str) -> tuple[Draft, Known]:
    default = _known(LAWS[DEFAULT_LAW])
    path = next((root / name for root in draft.roots if (root / name).is_file()), None)
    if path is None:
        where = " or ".join(dict.fromkeys(str(root) for root in draft.roots))
        return draft.find(
            _wrong(draft, f"`{name}` is not in {where}", "fit: runs.csv   # relative to the recipe")
        ), default
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except OSError as error:
        return draft.find(_wrong(draft, f"`{name}` can't be read: {error.strerror}", "check its permissions")), default
    if len(content) > MAX_BYTES:
        return draft.find(_wrong(draft, f"`{name}` is larger than {MAX_BYTES // 10**6} MB", "one line a run")), default
    runs, faults = read_runs(content)
    if not faults and said.max_tokens_per_parameter is not None:
        runs = runs.below(said.max_tokens_per_parameter)
    if not faults and (lack := enough(runs)):
        faults = (Fault(1, lack, "add runs of other sizes and lengths, or name a published fit"),)
    if faults:
        return draft.find(*(_fault(draft, path, fault) for fault in faults[:_MOST_FAULTS])), default
    made = _fit(runs.rows)
    law = _law_of(runs, made, Path(name).name)
    if min(law.alpha, law.beta) < 0.01 or not _sane(law):
        message = f"the runs of `{name}` don't show how the loss falls with {'tokens' if law.beta < 0.01 else 'size'}"
        return draft.find(_wrong(draft, message, "add runs over a wider range, or name a published fit")), default
    return draft, _known(law, runs, made)


def _law_of(runs: Runs, made: Fit, name: str) -> ScalingLaw:
    sizes = [n for n, _, _ in runs.rows]
    ratio = max(d / n for n, d, _ in runs.rows)
    return ScalingLaw("fit", *made.constants, min(sizes), max(sizes), ratio, f"fit of {len(sizes)} runs of {name}")


def _wrong(draft: Draft, message: str, help_: str) -> Diagnostic:
    return draft.diagnostic("RC306", message, "budget", "scaling_law", "fit", help=help_)


def _fault(draft: Draft, path: Path, fault: Fault) -> Diagnostic:
    """A finding in the CSV itself, as a place that an editor can jump to."""
    finding = _wrong(draft, fault.message, fault.help)
    return finding.model_copy(update={"span": Span(file=str(path), line=fault.line, column=1, end_column=2)})
