"""The graph of steps: tokenizer, one prepare a source, train, evaluate, export."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.provenance import Reason
from schemas.plan import Step

__all__ = ["steps"]

# Tokenizing and writing shards on one machine, tokens per second (benchmarks/; a byte-level BPE with all cores).
_PREPARE_TOKENS_PER_SECOND = 1e6
# Importing the libraries that a step needs (docs/log.md).
_START_SECONDS = 5.0


def steps(draft: Draft) -> Draft:
    """Fill `steps`, in an order in which they can run."""
    devices = draft.hardware.count
    sources = list(draft.data.sources)
    prepared = tuple(
        f"prepare-{i}" if len(f"prepare-{name}") > 64 else f"prepare-{name}" for i, name in enumerate(sources)
    )
    train_seconds = draft.budget.tokens / (draft.sections["estimate"].tokens_per_s_per_gpu * devices)

    def held(name: str) -> int:
        """Tokens of a source, or at least what is drawn of it."""
        drawn = sum(phase.sources[name].tokens for phase in draft.data.phases if name in phase.sources)
        return draft.data.sources[name].tokens or drawn

    found = [
        Step(id="tokenizer", kind="tokenizer", inputs=(), source=None, devices=1, seconds=_START_SECONDS),
        *(
            Step(
                id=step_id,
                kind="prepare",
                inputs=("tokenizer",),
                source=name,
                devices=1,
                seconds=_START_SECONDS + held(name) / _PREPARE_TOKENS_PER_SECOND,
            )
            for step_id, name in zip(prepared, sources, strict=True)
        ),
        Step(
            id="train",
            kind="train",
            inputs=("tokenizer", *prepared),
            source=None,
            devices=devices,
            seconds=train_seconds,
        ),
        Step(
            id="evaluate",
            kind="evaluate",
            inputs=("tokenizer", *prepared, "train"),
            source=None,
            devices=1,
            seconds=_evaluate_seconds(draft),
        ),
    ]
    if draft.recipe.checkpoints.export:
        found.append(
            Step(
                id="export",
                kind="export",
                inputs=("tokenizer", "train", "evaluate"),
                source=None,
                devices=1,
                seconds=_START_SECONDS,
            )
        )
    return draft.fill("steps", tuple(found), {"": Reason("one step a kind of work; a prepare for each source")})


def _evaluate_seconds(draft: Draft) -> float:
    """A forward pass costs a third of a trained token; the untrained and the trained model both read the held-out text."""
    tokens = draft.recipe.evaluation.max_tokens * len(draft.data.sources) * 2
    return float(tokens / 3 / draft.sections["estimate"].tokens_per_s_per_gpu)
