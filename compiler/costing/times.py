"""Seconds of a plan's steps and of what its training does, from the draft; compiler/estimate/cost.py has the formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from compiler.costing.reuse import made_before
from compiler.draft import Draft
from compiler.estimate.cost import (
    AFTER_START_SECONDS,
    PREPARE_START_SECONDS,
    Times,
    checkpoint_bytes,
    checkpoint_seconds,
    prepare_seconds,
    restart_seconds,
    restarts,
    score_seconds,
    startup_seconds,
)
from compiler.estimate.workload import OPTIMIZER_STATES
from schemas.plan import HOLDS_DEVICES, EvaluationPlan
from schemas.sources import MdsSource

__all__ = ["Costs", "Saving", "costs_of", "saving_of"]

# Training a byte-level BPE counts words on all cores, 4 MB in 5 s on 2 busy ones, and merges on one.
_BPE_BYTES_PER_CORE_SECOND: Final = 0.4e6
_MOST_BPE_BYTES_PER_SECOND: Final = 4e6
# A forward pass, of forward and backward together.
_FORWARD: Final = 1 / 3
# Steps that come after the training.
_AFTER: Final = ("compress", "evaluate", "compare", "export")
# Forward passes of one microbatch that time the finished model and what is shipped; runtime/compression/shipping.py.
_TIMED_PASSES: Final = 16
# Cores that prepare data: the laptop's, or those that launch/slurm.sbatch asks for beside each GPU.
_CPU_CORES: Final = 2
_CORES_PER_GPU: Final = 4


@dataclass(frozen=True, slots=True)
class Saving:
    """Checkpoints and failures: seconds of work between two of them, to write one, after a failure, between failures."""

    interval: float
    save: float
    restart: float
    mtbf: float


@dataclass(frozen=True, slots=True)
class Costs:
    """Wall-clock of a plan.

    Args:
        times: by part of the run.
        steps: of each step that is not the training, by its kind (`prepare` and `score` by source).
        saving: what checkpoints and restarts follow from.
    """

    times: Times
    steps: Mapping[str, float]
    saving: Saving

    @property
    def train(self) -> float:
        """Of the training step: what the other steps leave of the whole."""
        return self.times.total - sum(self.steps.values())


def costs_of(draft: Draft, step_seconds: float) -> Costs:
    """Wall-clock of the draft's run, given the length of one optimizer step."""
    steps, saves = draft.training.steps, draft.sections["checkpoints"].interval_steps
    training, during = steps * step_seconds, _evaluation(draft, step_seconds)
    saving = saving_of(draft, step_seconds, saves)
    others = _other_steps(draft, step_seconds)
    times = Times(
        startup=_startup(draft, step_seconds, again=bool(draft.earlier)),
        prepare=sum(seconds for name, seconds in others.items() if name.partition(" ")[0] not in HOLDS_DEVICES),
        training=training + sum(seconds for name, seconds in others.items() if name.startswith("logits ")),
        evaluation=during + sum(others.get(name, 0.0) for name in _AFTER),
        checkpoints=math.ceil(steps / saves) * saving.save,
        restarts=restarts(training + during, saving.interval, saving.save, saving.restart, saving.mtbf),
    )
    return Costs(times, others, saving)


def saving_of(draft: Draft, step_seconds: float, interval_steps: int) -> Saving:
    """What checkpoints every so many steps, and failures, mean for the draft's run."""
    steps = draft.training.steps
    # A checkpoint of adapters doesn't repeat the weights that they stand beside.
    learnt = (f.trainable_parameters for f in draft.fragments if f.trainable_parameters is not None)
    size = checkpoint_bytes(
        min(learnt, default=draft.model.num_parameters),
        OPTIMIZER_STATES[draft.training.optimizer.kind],
        draft.model.num_parameters * sum(a.kind == "ema" for a in draft.sections["algorithms"]),
    )
    return Saving(
        interval=min(interval_steps, steps) * (step_seconds + _evaluation(draft, step_seconds) / steps),
        save=checkpoint_seconds(size),
        restart=restart_seconds(_kind(draft), _startup(draft, step_seconds), size),
        mtbf=draft.hardware.mtbf_hours * 3600 / draft.parallelism.nodes,
    )


def _kind(draft: Draft) -> str:
    return "cpu" if draft.device.is_cpu else "gpu"


def _startup(draft: Draft, step_seconds: float, *, again: bool = False) -> float:
    """A run of few steps is over before it is at full speed."""
    share = min(1.0, draft.training.steps / 10)
    return startup_seconds(_kind(draft), share * step_seconds, compiled=draft.model.compile, again=again)


def _heldout_tokens(draft: Draft) -> float:
    """Tokens that one evaluation reads, over all sources."""
    said: EvaluationPlan = draft.sections["evaluation"]
    known = (source.tokens for source in draft.data.sources.values())
    return float(sum(min(said.max_tokens, said.holdout * (tokens or math.inf)) for tokens in known))


def _evaluation(draft: Draft, step_seconds: float) -> float:
    """Measuring held-out loss while training, on all devices."""
    said: EvaluationPlan = draft.sections["evaluation"]
    passes = math.ceil(draft.training.steps / said.interval_steps)
    return passes * _heldout_tokens(draft) / draft.training.global_batch_tokens * step_seconds * _FORWARD


def _other_steps(draft: Draft, step_seconds: float) -> dict[str, float]:
    """Seconds of the steps but the training: `tokenizer`, `prepare`, `score` and `logits` of sources, and those after it."""
    cores = _CPU_CORES if draft.device.is_cpu else _CORES_PER_GPU * min(draft.hardware.per_node, draft.hardware.count)
    found = {} if draft.is_classifier else {"tokenizer": PREPARE_START_SECONDS}
    if not draft.is_classifier and draft.tokenizer.kind == "bpe":
        rate = min(_MOST_BPE_BYTES_PER_SECOND, _BPE_BYTES_PER_CORE_SECOND * cores)
        found["tokenizer"] += draft.tokenizer.max_bytes / rate
    for name, source in draft.data.sources.items():
        ready_made = isinstance(source, MdsSource) and source.content == "tokens"
        found[f"prepare {name}"] = prepare_seconds(0.0 if ready_made else _tokens_of(draft, name), cores)
    for name, curriculum in draft.data.curricula.items():
        tasks = draft.recipe.launch.scoring.tasks or cores
        found[f"score {name}"] = score_seconds(curriculum.metric, _tokens_of(draft, name), tasks)
    found |= dict.fromkeys(made_before(draft), 0.0)
    found |= _kept_logits(draft, step_seconds)
    whole = checkpoint_seconds(checkpoint_bytes(draft.model.num_parameters, states=0))
    smaller = any(fragment.ships_smaller for fragment in draft.fragments)
    if smaller:
        timed = _TIMED_PASSES * draft.microbatch / draft.training.global_batch_samples
        passes = timed * step_seconds * draft.hardware.count * _FORWARD
        found["compress"] = AFTER_START_SECONDS + 2 * whole + passes  # written both as trained and as shipped
    # The untrained, the trained and the shipped model all read the held-out text.
    share = (2 + smaller) * _heldout_tokens(draft) / draft.training.global_batch_tokens
    found["evaluate"] = AFTER_START_SECONDS + share * step_seconds * draft.hardware.count * _FORWARD
    bias = draft.sections["evaluation"].bias
    if bias is not None:
        # The reference once, and of this run and its replicates what is trained and what is shipped.
        models = 1 + (1 + len(bias.replicates)) * ((bias.against != "uncompressed") + smaller)
        read = models * _heldout_tokens(draft) / draft.training.global_batch_tokens
        found["compare"] = AFTER_START_SECONDS + read * step_seconds * draft.hardware.count * _FORWARD
    if draft.recipe.checkpoints.export:
        found["export"] = whole
    return found


def _kept_logits(draft: Draft, step_seconds: float) -> dict[str, float]:
    """Teachers that read each sample of the drawn sources once, on one device, at the speed of the training's products."""
    once = sum(fragment.once_flops_per_token for fragment in draft.fragments)
    per_token = (
        step_seconds * draft.hardware.count / draft.training.global_batch_tokens / (6.0 * draft.model.macs_per_token)
    )
    drawn = [name for name in draft.data.sources if any(name in phase.sources for phase in draft.data.phases)]
    return {
        f"logits {name}": PREPARE_START_SECONDS + _tokens_of(draft, name) * once * per_token
        for name in (drawn if once else ())
    }


def _tokens_of(draft: Draft, name: str) -> int:
    """Tokens of a source, or at least what is drawn of it."""
    drawn = sum(phase.sources[name].tokens for phase in draft.data.phases if name in phase.sources)
    return draft.data.sources[name].tokens or drawn
