"""Parameter counts of a model's dimensions, exact, and dimensions for a count."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from schemas.model import Family
from schemas.plan import ModelPlan

__all__ = [
    "Dimensions",
    "count_embedding",
    "count_parameters",
    "flops_per_token",
    "pad_vocabulary",
    "section_of",
    "solve",
]


@dataclass(frozen=True)
class Dimensions:
    """Shape of a decoder; `heads` divides `hidden`, `kv_heads` divides `heads`."""

    family: Family
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    positions: int
    tied: bool


def pad_vocabulary(tokens: int) -> int:
    """Next multiple of 64: matrix kernels lose up to a quarter on odd widths."""
    return -(-tokens // 64) * 64


def count_embedding(d: Dimensions) -> int:
    """Parameters of token and position tables (an untied output layer counts as the model's)."""
    return d.vocabulary * d.hidden + (d.positions * d.hidden if d.family == "gpt2" else 0)


def count_parameters(d: Dimensions) -> int:
    """All parameters, shared ones once; equal to the built model's count (tests/runtime/models/test_planned.py)."""
    h, f = d.hidden, d.intermediate
    if d.family == "llama":
        kv = d.kv_heads * (h // d.heads)
        layer = 2 * h * h + 2 * h * kv + 3 * h * f + 2 * h
        last = h
    else:
        layer = (3 * h * h + 3 * h) + (h * h + h) + (2 * h * f + h + f) + 4 * h
        last = 2 * h
    output = 0 if d.tied else d.vocabulary * h
    return count_embedding(d) + d.layers * layer + last + output


def section_of(
    d: Dimensions,
    *,
    dropout: float,
    rope_theta: float,
    norm_eps: float,
    init_std: float,
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa",
    compile: bool = False,
) -> ModelPlan:
    """The section of the plan that says these dimensions."""
    return ModelPlan(
        family=d.family,
        num_parameters=count_parameters(d),
        num_embedding_parameters=count_embedding(d),
        vocab_size=d.vocabulary,
        hidden_size=d.hidden,
        num_layers=d.layers,
        num_heads=d.heads,
        num_kv_heads=d.kv_heads,
        intermediate_size=d.intermediate,
        max_sequence_length=d.positions,
        tie_embeddings=d.tied,
        dropout=dropout,
        rope_theta=rope_theta,
        norm_eps=norm_eps,
        init_std=init_std,
        attention=attention,
        compile=compile,
    )


def flops_per_token(parameters: int, layers: int, hidden: int, sequence_length: int) -> float:
    """Training FLOPs of one token: 6 N + 12 L h s, the convention of PaLM (appendix B) and llm-foundry."""
    return 6.0 * parameters + 12.0 * layers * hidden * sequence_length


def _round_up(value: float, multiple: int) -> int:
    return max(multiple, math.ceil(value / multiple) * multiple)


def _intermediate(family: Family, hidden: int) -> int:
    """llama: 8/3 of the width, so that its three matrices weigh what two of width 4 h do (Shazeer 2020); gpt2: 4 h."""
    if family == "gpt2":
        return 4 * hidden
    return _round_up(hidden * 8 / 3, 256 if hidden >= 1024 else 32)


def _heads(hidden: int) -> int:
    """Heads of 128 where eight or more of them fill a width from 2048 on; else of 64, of 32 where fewer than two are left.

    Numbers of heads that divide by 8 are what tensor parallelism inside a machine needs.
    """
    for size in (128,) * (hidden >= 2048 and hidden % 1024 == 0) + (64, 32, 16, 8):
        if hidden % size == 0 and hidden // size >= 2:
            return hidden // size
    return 1


def _kv_heads(family: Family, hidden: int, heads: int) -> int:
    """Eight key-value heads for llama from width 2048 on, as in all sizes of Llama 3 (1B to 405B), Mistral 7B and Llama-2 70B.

    Eight still divide over the GPUs of a machine, and serving reads a cache that is `heads / 8` times smaller.
    """
    return 8 if family == "llama" and hidden >= 2048 and heads > 8 and heads % 8 == 0 else heads


def _aspect(parameters: float) -> float:
    """Width per layer of published models: about 30 at 10M, 64 at 125M, 100 at 1.3B and 128 at 7B and more."""
    return min(128.0, max(24.0, 64.0 * math.pow(parameters / 125e6, 0.18)))


def _widths(target: float, start: Dimensions, fixed: frozenset[str]) -> range:
    """Widths worth trying, few enough for a search of some milliseconds at any size up to 10^14 parameters."""
    # A layer has about 12 h^2 parameters.
    if "layers" in fixed:
        usual = math.sqrt(target / (12 * start.layers))
    else:
        usual = (target * _aspect(target) / 12) ** (1 / 3)
    if "heads" in fixed:
        # The heads that the recipe fixes must divide the width, into sizes that kernels have, even ones in any case.
        step = start.heads * next((size for size in (64, 32, 16, 8) if size * start.heads <= usual / 2), 2)
    else:
        # Kernels like multiples of 128, and from 300M on the heads should divide by 8; layers that the recipe fixes leave
        # the width alone to meet the size.
        steps = ((1e8, 128), (1e7, 64)) if "layers" in fixed else ((3e9, 1024), (3e8, 512), (1e8, 128), (1e7, 64))
        step = next((size for least, size in steps if target >= least), 32)
    # Where embeddings or an MLP that the recipe fixes take most of the parameters, the usual width says little.
    free = "intermediate" not in fixed and target >= 3e9
    least = max(step, int(usual / 2 / step) * step) if free else step
    most = max(least, math.ceil(usual * (2 if free else 8) / step) * step)
    return range(least, most + 1, max(step, (most - least) // 256 // step * step))


def solve(target: float, start: Dimensions, fixed: frozenset[str] = frozenset()) -> Dimensions:
    """Dimensions whose parameter count is closest to `target` at a usual ratio of width to depth.

    Args:
        target: parameters wanted, embeddings included.
        start: gives family, vocabulary, positions, tying, and the values of the dimensions in `fixed`.
        fixed: names of the dimensions that must stay (`hidden`, `layers`, `heads`, `kv_heads`, `intermediate`).
    """
    best, best_score = start, math.inf
    for hidden in [start.hidden] if "hidden" in fixed else _widths(target, start, fixed):
        shape = _fill(start, hidden, fixed)
        one = count_parameters(replace(shape, layers=1))
        layer = count_parameters(replace(shape, layers=2)) - one
        if one - layer > 2 * target and best_score < math.inf:
            break
        wanted = start.layers if "layers" in fixed else max(1, round((target - (one - layer)) / layer))
        candidate = replace(shape, layers=min(wanted, 1000))
        error = abs(math.log(count_parameters(candidate) / target))
        # A tenth off the size weighs as much as a ratio of width to depth that is off by 1.65.
        shape_error = (
            0.0 if fixed & {"hidden", "layers"} else abs(math.log(hidden / candidate.layers / _aspect(target)))
        )
        score = error + 0.2 * shape_error
        if score < best_score:
            best, best_score = candidate, score
    return best


def _fill(start: Dimensions, hidden: int, fixed: frozenset[str]) -> Dimensions:
    heads = start.heads if "heads" in fixed else _heads(hidden)
    if "kv_heads" in fixed:
        kv_heads = start.kv_heads
    else:
        # Whoever chooses the heads gets plain attention unless they ask for another one.
        kv_heads = heads if "heads" in fixed else _kv_heads(start.family, hidden, heads)
    return replace(
        start,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        intermediate=start.intermediate if "intermediate" in fixed else _intermediate(start.family, hidden),
    )
