"""Parameter counts of a model's dimensions, exact, and dimensions for a count."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from schemas.model import Family

__all__ = ["Dimensions", "count_embedding", "count_parameters", "flops_per_token", "pad_vocabulary", "solve"]


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
    """All parameters, shared ones once; equal to the built model's count (tests/runtime/test_model.py)."""
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
    """Heads of 128 from width 2048 on, of 64 below, of 32 where even that leaves fewer than two."""
    for size in (128,) * (hidden >= 2048) + (64, 32, 16, 8):
        if hidden % size == 0 and hidden // size >= 2:
            return hidden // size
    return 1


def _aspect(parameters: float) -> float:
    """Width per layer of published models: about 30 at 10M, 64 at 125M, 100 at 1.3B and 128 at 7B and more."""
    return min(128.0, max(24.0, 64.0 * math.pow(parameters / 125e6, 0.18)))


def solve(target: float, start: Dimensions, fixed: frozenset[str] = frozenset()) -> Dimensions:
    """Dimensions whose parameter count is closest to `target` at a usual ratio of width to depth.

    Args:
        target: parameters wanted, embeddings included.
        start: gives family, vocabulary, positions, tying, and the values of the dimensions in `fixed`.
        fixed: names of the dimensions that must stay (`hidden`, `layers`, `heads`, `kv_heads`, `intermediate`).
    """
    best, best_score = start, math.inf
    # Wide models step by four heads of 128, so that heads divide by the usual tensor-parallel degrees.
    multiple = 512 if target >= 3e9 else 128 if target >= 3e8 else 64 if target >= 1e7 else 32
    widths = [start.hidden] if "hidden" in fixed else range(multiple, 65_536 + 1, multiple)
    for hidden in widths:
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
    return replace(
        start,
        hidden=hidden,
        heads=heads,
        kv_heads=start.kv_heads if "kv_heads" in fixed else heads,
        intermediate=start.intermediate if "intermediate" in fixed else _intermediate(start.family, hidden),
    )
