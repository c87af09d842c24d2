"""How far a student's predictions are from a teacher's: divergences of softened distributions, whole or by their largest parts.

All of them are means over positions, in nats, in fp32, and times T^2, which keeps gradients of one size whatever the
temperature (Hinton et al. 2015, section 2). A constant that is added to all logits of a position changes none of them.

    kl           T^2 sum_v t_v (log t_v - log s_v)                 with t, s = softmax(logits / T)
    reverse_kl   T^2 sum_v s_v (log s_v - log t_v)
    mse          1/2 mean_v (s_v - t_v)^2 of centred logits: the limit of kl for T -> infinity

Of several teachers the mean is the one whose gradient is the mean of the gradients under each of them: of probabilities for
kl, of logits for the other two. So a step with one random teacher is an unbiased estimate of a step with all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch.nn import functional

from schemas.techniques.distillation import Divergence

__all__ = ["TopK", "divergence", "mean_over", "mixed", "positions", "soft_log", "top_k", "top_k_divergence"]

_TINY: Final = torch.finfo(torch.float32).tiny


class TopK(NamedTuple):
    """The largest parts of a softened distribution. Their sum and the rest make one.

    Args:
        ids: [..., k] int, of the vocabulary or of classes.
        scores: [..., k], their logits / T less the largest of them.
        rest: [...], probability of all that is not in `ids`; 0 where nothing is left.
    """

    ids: torch.Tensor
    scores: torch.Tensor
    rest: torch.Tensor


def soft_log(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logarithm of the softened distribution, [positions, vocabulary] in fp32, of logits [..., vocabulary]."""
    return functional.log_softmax(logits.float().flatten(0, -2) / temperature, dim=-1)


def mixed(teachers: Sequence[torch.Tensor], loss: Divergence, temperature: float) -> torch.Tensor:
    """The mean of several teachers, as logits of which `divergence` makes that mean; one teacher's are left as they are.

    Args:
        teachers: logits of each, [..., vocabulary].
        loss: decides of what the mean is taken.
        temperature: at which probabilities are averaged.

    Returns:
        [..., vocabulary] in fp32 (of one teacher: in its own format).
    """
    if len(teachers) == 1:
        return teachers[0]
    if loss != "kl":
        total = sum((each.float() for each in teachers[1:]), teachers[0].float())
        return total / len(teachers)
    mean = torch.zeros_like(teachers[0], dtype=torch.float32)
    for each in teachers:
        mean += functional.softmax(each.float() / temperature, dim=-1)
    return temperature * (mean / len(teachers)).clamp_min(_TINY).log()


def divergence(loss: Divergence, student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Divergence of each position, [positions].

    Args:
        loss: which one.
        student: logits, [..., vocabulary].
        teacher: logits of the same shape.
        temperature: T; of no meaning for mse.
    """
    if loss == "mse":
        difference = student.float().flatten(0, -2) - teacher.float().flatten(0, -2)
        return 0.5 * difference.var(dim=-1, correction=0)
    ours, theirs = soft_log(student, temperature), soft_log(teacher, temperature)
    if loss == "reverse_kl":
        ours, theirs = theirs, ours
    return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1) * temperature**2


def top_k(logits: torch.Tensor, k: int, temperature: float) -> TopK:
    """The k largest parts of a softened distribution, the largest first, from logits [..., vocabulary]."""
    logs = functional.log_softmax(logits.float() / temperature, dim=-1)
    found = logs.topk(min(k, logs.shape[-1]), dim=-1)
    # Summed over what is left: 1 - sum of the kept ones has no digits where little is, and reverse_kl takes its logarithm.
    left = logs.exp().scatter(-1, found.indices, 0.0).sum(dim=-1)
    return TopK(found.indices, found.values - found.values[..., :1], left)


def top_k_divergence(loss: Divergence, student: torch.Tensor, teacher: TopK, temperature: float) -> torch.Tensor:
    """Divergence of each position, [positions], over the teacher's largest parts and one bucket for all the others.

    Merging parts never makes a divergence larger, so this is a lower bound, and exact where nothing is left over.

    Args:
        loss: kl or reverse_kl.
        student: logits, [..., vocabulary].
        teacher: shapes [..., k] and [...].
        temperature: that of the parts as well.
    """
    ids, rest = teacher.ids.flatten(0, -2).long(), teacher.rest.float().flatten()
    theirs = functional.log_softmax(teacher.scores.float().flatten(0, -2), dim=-1) + torch.log1p(-rest)[:, None]
    logs = soft_log(student, temperature)
    if ids.shape[-1] < logs.shape[-1]:  # one more part, of all the others
        # Summed over what is left rather than 1 - sum, which has no digits left where little is.
        left = logs.scatter(-1, ids, float("-inf")).logsumexp(dim=-1, keepdim=True)
        ours = torch.cat([logs.gather(-1, ids), left], dim=-1)
        theirs = torch.cat([theirs, rest.clamp_min(_TINY)[:, None].log()], dim=-1)
    else:
        ours = logs.gather(-1, ids)
    if loss == "reverse_kl":
        ours, theirs = theirs, ours
    return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1) * temperature**2


def positions(input_ids: torch.Tensor, padding: int) -> torch.Tensor:
    """Which predictions count, [batch * length] bool: those of a token that isn't padding, about one that isn't.

    Args:
        input_ids: [batch, length]; position i foretells token i + 1, and the last one what nobody sees.
        padding: the id of tokens that only fill samples up.
    """
    real = input_ids != padding
    return (real & functional.pad(real[:, 1:], (0, 1), value=True)).flatten()


def mean_over(values: torch.Tensor, counted: torch.Tensor | None) -> torch.Tensor:
    """Mean of [positions], or of those that are counted; 0 where none is."""
    if counted is None:
        return values.mean()
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp_min(1)
