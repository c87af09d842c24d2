"""What may change in a running plan: the future of the mixture and all that no checkpoint holds; the past and the rest may not.

A checkpoint holds weights, the optimizer's and techniques' state, and how many samples of each source were drawn. It can be
continued under another plan where those go on making sense, and where that plan would have drawn the same until then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from schemas.plan import PhasePlan, RunPlan

__all__ = ["bound_values", "last_step", "parts_at", "resume_conflicts"]

# Dotted path -> why a checkpoint can't be continued when it differs.
_BOUND: Final[dict[str, str]] = {
    "seed": "the order of the data would change, so samples would be repeated and others left out",
    "start": "the training began with other weights",
    "model.family": "the weights have other names and shapes",
    "model.vocab_size": "the embedding has another shape",
    "model.hidden_size": "the weights have other shapes",
    "model.num_layers": "the model has other layers",
    "model.num_heads": "the attention weights mean other heads",
    "model.num_kv_heads": "the attention weights have other shapes",
    "model.intermediate_size": "the weights have other shapes",
    "model.max_sequence_length": "the positions have another range",
    "model.tie_embeddings": "the output layer is shared in one and not in the other",
    "model.rope_theta": "positions would mean something else to the trained weights",
    "model.norm_eps": "the trained weights would compute something else",
    "model.block": "the weights have other shapes",
    "model.blocks": "the model has other layers",
    "model.width": "the weights have other shapes",
    "model.stem": "the first convolution has another shape",
    "model.norm": "the layers between convolutions are others",
    "model.num_classes": "the last layer has another shape",
    "model.channels": "the first convolution has another shape",
    "model.image_size": "images would be scaled otherwise",
    "tokenizer": "token ids would mean other words",
    "data.sequence_length": "samples are cut otherwise, so the place in the data is lost",
    "data.sources": "the samples behind the place in the data would be others",
    "data.image": "images would be scaled or coloured otherwise",
    "data.selection": "the samples behind the place in the data would be others",
    "data.shuffle_block": "the order of the samples of each source would change",
    "data.curricula": "samples would have been drawn in another order so far; a time in tok doesn't move with the run's length",
    "evaluation.holdout": "documents would move between held-out and training data",
    "training.global_batch_samples": "the place in the data is counted in batches",
    "training.optimizer.kind": "the optimizer's state has another form",
    "precision.param": "the weights are stored in another format",
    "algorithms": "the techniques' state in the checkpoint belongs to other settings",
}
_ABSENT: Final = object()
"""A family has its own dimensions: what a plan doesn't have binds nothing."""
_PHASES: Final = "data.phases"
_TRAINED_TOKENIZER: Final = "the tokenizer is trained on all sources, so with this one token ids would mean other words"
# Of a source, what the plan checks or orders by, and not which samples it has.
_LIMITS: Final = frozenset({"tokens", "max_epochs", "min_tokens", "curriculum"})
# Techniques that follow a slope to the end of their window; of others, one that lasts as long as the run may last longer.
_SLOPES: Final = frozenset({"pruning", "sequence_length_warmup"})


def bound_values(plan: RunPlan) -> dict[str, Any]:
    """Dotted path -> plain value, of all that must be equal for a checkpoint of any step to be continued."""
    content = plan.model_dump(mode="json", by_alias=True, include={path.split(".")[0] for path in _BOUND})
    for source in content["data"]["sources"].values():
        for key in _LIMITS:
            source.pop(key, None)
    # Rounding the finished model leaves its training, and so its checkpoints, alone.
    content["algorithms"] = [algorithm for algorithm in content["algorithms"] if algorithm.get("mode") != "ptq"]
    for algorithm in content["algorithms"]:
        window = algorithm["window"]
        if algorithm["kind"] not in _SLOPES and window["end_token"] >= plan.budget.tokens:
            window["end_token"] = None
    bound = {}
    for path in _BOUND:
        value: Any = content
        for key in path.split("."):
            value = value.get(key, _ABSENT)
            if value is _ABSENT:
                break
        else:
            bound[path] = value
    return bound


def resume_conflicts(old: RunPlan, new: RunPlan, token: int | None = None) -> tuple[tuple[str, str], ...]:
    """(path, reason) of every difference that forbids to continue a checkpoint of `old` under `new`.

    Args:
        old: plan of the checkpoint.
        new: plan that would go on from it.
        token: tokens that the checkpoint has been trained on; those of the first step, if not given.
    """
    before, after = bound_values(old), bound_values(new)
    found = [
        (path, _TRAINED_TOKENIZER if path == "data.sources" and _only_adds(before, after) else reason)
        for path, reason in _BOUND.items()
        if not _allowed(path, before, after) and before.get(path) != after.get(path)
    ]
    step_tokens = old.training.global_batch_tokens
    if not found and (step_tokens if token is None else token) > (last := parts_at(old, new)):
        found.append((_PHASES, _parted(new, last // step_tokens, last)))
    return tuple(found)


def _allowed(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether sources that only one of the plans has change nothing: they are drawn later, or would have been.

    A tokenizer that is trained on the sources is another one with other sources; one that exists is not. Classes of images are
    numbered over all sources, so another one may number them anew.
    """
    tokenizer = after["tokenizer"]
    return path == "data.sources" and tokenizer is not None and tokenizer["kind"] != "bpe" and _only_adds(before, after)


def _only_adds(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the sources that both plans have are the same."""
    old, new = before["data.sources"], after["data.sources"]
    return all(old[name] == new[name] for name in old.keys() & new.keys())


def _parted(new: RunPlan, step: int, token: int) -> str:
    if token == new.budget.tokens:
        return f"the run ends at step {step} now, before this checkpoint"
    if not step:
        return "the order of the samples would change, so some would be repeated and others left out"
    return f"the mixtures part after step {step}, so samples of later steps would be repeated or left out"


def last_step(old: RunPlan, new: RunPlan) -> int:
    """Last step of `old` whose checkpoint may be continued under `new`; 0 if none may."""
    return 0 if resume_conflicts(old, new) else parts_at(old, new) // old.training.global_batch_tokens


def parts_at(old: RunPlan, new: RunPlan) -> int:
    """Token from which on two plans draw from their sources in other shares; the shorter run's last one if they don't.

    Compared are the samples of each source that either plan has drawn at every edge of a phase of either. They are taken as
    equal if they differ by less than a sample for each constant mix and each transition that isn't identical in both, which is
    what rounding to whole samples can do: a knot that changes no weight changes nothing. A curriculum follows the phases as
    they are, so there they must be identical. Beyond the token at which `old` has drawn more of a source than the whole of
    `new` does, `new` could not be met exactly any more.
    """
    agreed = _identical_until(old.data.phases, new.data.phases)
    if old.data.curricula or new.data.curricula:
        return agreed
    end = min(old.budget.tokens, new.budget.tokens)
    before, after = _Drawn(old.data.phases), _Drawn(new.data.phases)
    begun = [start for start in (*before.starts, *after.starts) if start >= agreed]
    names = sorted({*old.data.sources, *new.data.sources})
    for edge in sorted(edge for edge in {*before.edges, *after.edges, end} if agreed < edge <= end):
        slack = sum(start < edge for start in begun)
        if any(abs(before.at(edge, name) - after.at(edge, name)) >= max(1, slack) for name in names):
            break
        agreed = edge
    return min(agreed, _too_much_at(old.data.phases, new.data.phases))


def _too_much_at(old: Sequence[PhasePlan], new: Sequence[PhasePlan]) -> int:
    """Last token at which `old` has drawn no more of any source than the whole of `new` does; its last one if it never has."""
    left: Counter[str] = Counter()
    for phase in new:
        left.update({name: share.samples for name, share in phase.sources.items()})
    for phase in old:
        length = phase.end_token - phase.start_token
        # Within a phase a source is drawn evenly, rounded up at most.
        ends = [
            left[name] * length // share.samples for name, share in phase.sources.items() if share.samples > left[name]
        ]
        if ends:
            return phase.start_token + min(ends)
        left.subtract({name: share.samples for name, share in phase.sources.items()})
    return old[-1].end_token


def _identical_until(old: Sequence[PhasePlan], new: Sequence[PhasePlan]) -> int:
    """Token at which the first phase begins that isn't the same in both; ids don't count."""
    agreed = 0
    for before, after in zip(old, new, strict=False):
        if (before.start_token, before.end_token, before.sources) != (
            after.start_token,
            after.end_token,
            after.sources,
        ):
            break
        agreed = before.end_token
    return agreed


class _Drawn:
    """Samples of each source that a plan has drawn up to a token, spread evenly over each phase."""

    def __init__(self, phases: Sequence[PhasePlan]) -> None:
        self.edges = [phase.end_token for phase in phases]
        pairs = zip((None, *phases), phases, strict=False)
        self.starts = [p.start_token for last, p in pairs if last is None or last.stretch != p.stretch]
        self._phases = phases
        self._before: list[dict[str, int]] = [{}]
        for phase in phases:
            upto = dict(self._before[-1])
            for name, share in phase.sources.items():
                upto[name] = upto.get(name, 0) + share.samples
            self._before.append(upto)

    def at(self, token: int, name: str) -> Fraction:
        """Samples of a source drawn when `token` tokens of the run are; its edges are those of phases."""
        number = bisect_left(self.edges, token)
        phase, before = self._phases[number], self._before[number].get(name, 0)
        drawn = phase.sources[name].samples if name in phase.sources else 0
        return before + Fraction(drawn * (token - phase.start_token), phase.end_token - phase.start_token)
