"""Samples of one optimizer step and the number of steps: the currency of all later passes."""

from __future__ import annotations

import math

from compiler.budgeting.aim import ESTIMATED, Aim
from compiler.budgeting.lines import line_for, line_for_tokens, place_of
from compiler.draft import Draft
from compiler.estimate.law.scaling_law import train_flops
from compiler.notes import Batch
from compiler.passes.images import images_batch
from schemas.budget import TARGETS
from schemas.diagnostics import Diagnostic
from schemas.units import format_count, format_tokens

__all__ = ["batch"]

# Text that exists is some 10^15 tokens; a thousand times more is nobody's plan.
_TEXT = 1e15
_MOST_TOKENS = 1e18


def _usual_tokens(parameters: int) -> float:
    """0.33M tokens at 108M parameters, growing with N^(2/3) (OLMo-core's ladder): 1.7M at 1.3B, 5M at 7B."""
    return 160 * 2048 * math.pow(parameters / 108e6, 2 / 3)


def _wanted_tokens(draft: Draft) -> tuple[Draft, float]:
    """Tokens that the budget asks of the model that was chosen; 20 per parameter after an error, to go on with."""
    budget, n, targets = draft.recipe.budget, draft.model.num_parameters, draft.targets
    if budget.tokens_per_parameter is not None:
        return draft, budget.tokens_per_parameter * n
    if targets.aim is None:
        return _unsaid(draft), 20.0 * n
    aim = targets.aim
    tokens = targets.market.tokens_for(aim.goal, aim.value, n)
    if aim.goal == "lifetime" and tokens <= 0:  # passes/lifetime.py says what the smallest run and its serving cost
        return draft, 0.0
    if 0 < tokens < _MOST_TOKENS:
        return draft, _within_limits(draft, tokens)
    if any(finding.code == "RC301" for finding in draft.findings):  # the target itself is out of reach
        return draft, 20.0 * n
    return draft.find(_endless(draft, aim)), 20.0 * n


def _unsaid(draft: Draft) -> Draft:
    """The finding that there is no budget, unless passes/targets.py has asked for one."""
    if any(finding.path == "budget" for finding in draft.findings):
        return draft
    line = f"budget: {{tokens: {format_tokens(20 * draft.model.num_parameters)}}}   # about 20 tokens per parameter"
    return draft.find(draft.diagnostic("RC304", "nothing says how long to train", "budget", help=line))


def _endless(draft: Draft, aim: Aim) -> Diagnostic:
    """The finding that no text is long enough for the model to meet its target: a larger one, or less to ask for."""
    n, market = draft.model.num_parameters, draft.targets.market
    law, most = market.law, _TEXT
    smallest = law.least_parameters_for(aim.value) * 1.5 if aim.goal == "loss" else math.inf
    if smallest < most:
        return draft.diagnostic(
            "RC301",
            f"{format_count(n)} parameters don't reach a loss of {aim.value:.4g} with any amount of data that there is",
            "model",
            "size",
            help=f"size: {format_count(smallest)}",
            reason=f"by the law `{law.name}` it takes more than {format_count(smallest / 1.5)} parameters",
        )
    value = {
        "loss": market.loss(n, law.chinchilla_from_parameters(n).tokens),
        "training": train_flops(n, most),
        "lifetime": market.lifetime(n, most),
        "tokens": most,
    }[aim.goal]
    return draft.diagnostic(
        "RC301",
        f"`{aim.key}` asks {format_count(n)} parameters for more than any amount of data",
        *place_of(aim.key),
        help=line_for(draft, aim, market, value),
        reason="text that exists is some 10^15 tokens",
    )


def _too_short(draft: Draft, tokens: float, samples: int) -> Diagnostic:
    """The finding that a run has not one step, at the batch that the recipe makes too large, else at its target."""
    said, length, aim = draft.recipe.training, draft.recipe.data.sequence_length, draft.targets.aim
    size = samples * length
    message = f"the run of {format_tokens(round(tokens))} is shorter than one batch of {format_tokens(size)}"
    unit = length * draft.hardware.count
    if said.batch is not None and tokens >= unit:
        usual = _even(min(_usual_tokens(draft.model.num_parameters), tokens / 500) / unit, 0.25) * unit
        return draft.diagnostic(
            "RC301", message, "training", "batch", help=f"batch: {usual} tok   # 500 steps are usual"
        )
    reason = f"a batch has at least one sequence of {length} for each of {draft.hardware.count} devices"
    if said.duration is not None:
        return draft.diagnostic("RC301", message, *place_of("duration"), help=f"duration: {size}tok", reason=reason)
    if aim is None:
        ratio = math.ceil(1000 * size / draft.model.num_parameters) / 1000
        line = f"tokens_per_parameter: {ratio:g}"
        return draft.diagnostic("RC301", message, *place_of("tokens_per_parameter"), help=line, reason=reason)
    line = line_for_tokens(draft, aim, draft.targets.market, size)
    return draft.diagnostic("RC301", message, *place_of(aim.key), help=f"{line}   # at least", reason=reason)


def _within_limits(draft: Draft, tokens: float) -> float:
    """What may be spent, or nearly reaches a loss, keeps to the constraints; passes/budget.py says of others that they don't."""
    market, aim, n = draft.targets.market, draft.targets.aim, draft.model.num_parameters
    most = min(market.limits.most_tokens, market.limits.max_tokens_per_parameter * n)
    spent = aim is not None and aim.goal in ("training", "lifetime")
    # Whole dimensions move the model by a few per cent from the one that just keeps the limit.
    near = aim is not None and aim.goal == "loss" and market.loss(n, most) < aim.value * 1.005
    return most if tokens > most and (spent or near) else tokens


def _conflict(draft: Draft) -> Draft:
    """`training.duration` and a target of the budget both say how long to train."""
    target = next((name for name in TARGETS if getattr(draft.recipe.budget, name) is not None), None)
    if draft.recipe.training.duration is None or target is None:
        return draft
    return draft.find(
        draft.diagnostic(
            "RC201",
            f"`training.duration` and `budget.{target}` both say how long to train",
            "training",
            "duration",
            help=f"delete this line, or `{target}` under `budget`",
        )
    )


def _even(samples: float, tolerance: float) -> int:
    """The number within a share of `samples` that halves most often: 61 on a device leave micro-batches of 1 or 61 only."""
    for power in range(60, 0, -1):
        step = 1 << power
        multiple = round(samples / step) * step
        if multiple and abs(multiple - samples) <= tolerance * samples:
            return multiple
    return max(1, round(samples))


def _samples(draft: Draft, tokens: float) -> tuple[Draft, int]:
    """Samples of a batch: whole sequences, the same number on every device."""
    said, length, devices = draft.recipe.training.batch, draft.recipe.data.sequence_length, draft.hardware.count
    unit = length * devices
    if said is not None:
        if said < unit:
            draft = draft.find(
                draft.diagnostic(
                    "RC205",
                    f"a batch of {said} tokens doesn't give each of {devices} devices a sequence of {length}",
                    "training",
                    "batch",
                    help=f"batch: {unit} tok",
                )
            )
        return draft, (said // unit if said % unit == 0 else _even(said / unit, 0.05)) * devices
    # At least 500 steps, so that the schedule has room; at least one sequence for each device.
    usual = min(_usual_tokens(draft.model.num_parameters), tokens / 500)
    # The usual size is a rough one: a quarter more or less is worth it where five samples a device would become four.
    return draft, _even(usual / unit, 0.25) * devices


def _epoch_tokens(draft: Draft) -> int | None:
    """Unique training tokens of all sources, where every one says how many it has."""
    sizes = [source.tokens for source in draft.recipe.data.sources.values()]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def batch(draft: Draft) -> Draft:
    """Fill the intermediate `batch`."""
    if draft.is_classifier:
        return images_batch(draft)
    draft = _conflict(draft)
    duration, length = draft.recipe.training.duration, draft.recipe.data.sequence_length
    epoch_tokens = _epoch_tokens(draft)
    if duration is not None and duration.unit in ("ba", "sp", "ep"):
        if duration.unit == "ep" and epoch_tokens is None:
            missing = next(name for name, source in draft.recipe.data.sources.items() if source.tokens is None)
            draft = draft.find(
                draft.diagnostic(
                    "RC410",
                    f"{duration} needs the size of every source, and `{missing}` doesn't say it",
                    "training",
                    "duration",
                    help=f"add `tokens: 10B tok` to data.sources.{missing}, or write the duration in tok or ba",
                )
            )
            epoch_tokens = round(20.0 * draft.model.num_parameters)
        # The default size of a batch needs a number of tokens, so a length in batches is taken at the usual size.
        guess = (
            duration.value
            * {"ba": _usual_tokens(draft.model.num_parameters), "sp": length, "ep": epoch_tokens or 0}[duration.unit]
        )
        draft, samples = _samples(draft, guess)
        steps, tokens = (
            Batch(samples=samples, tokens=samples * length, steps=1, epoch_tokens=epoch_tokens).steps_of(duration),
            guess,
        )
    else:
        draft, tokens = _wanted_tokens(draft)
        draft, samples = _samples(draft, tokens)
        steps = round(tokens / (samples * length))
    if steps < 1 and draft.targets.aim is not None and draft.targets.aim.key in ESTIMATED:
        steps = 1  # passes/lifetime.py says what it costs, and whether that is too much
    if steps < 1:
        steps = 1
        draft = draft.find(_too_short(draft, tokens, samples))
    return draft.note("batch", Batch(samples=samples, tokens=samples * length, steps=steps, epoch_tokens=epoch_tokens))
