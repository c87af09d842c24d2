"""Measures of a causal language model: loss on samples, in the units that people compare, and texts it continues."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from runtime.tokenizer import TextTokenizer
from schemas.plan import PrecisionPlan, RunPlan

if TYPE_CHECKING:
    from transformers import GenerationMixin, PreTrainedModel

__all__ = ["autocast", "continue_prompt", "losses", "nats_per_token"]

# Sampled, not greedy: small models fall into loops when they always take the likeliest token. Holtzman et al. 2020.
_TEMPERATURE: Final = 0.8
_TOP_K: Final = 50
_LOWER: Final = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}


def losses(nats: float, tokens: int, num_bytes: int) -> dict[str, float]:
    """A mean loss in nats per token, as perplexity and as bits per byte of the text that the tokens stand for.

    Bits per byte can be compared across tokenizers: nats * tokens / (ln 2 * bytes) (Gao et al. 2020, The Pile, 3.1).
    """
    return {
        "loss": nats,
        # Beyond 700 nats exp overflows; a loss there is lost anyway, and JSON knows no infinity.
        "perplexity": math.exp(min(nats, 700.0)),
        "bits_per_byte": nats * tokens / (math.log(2) * num_bytes),
    }


@torch.no_grad()
def nats_per_token(model: PreTrainedModel, batches: Iterable[npt.NDArray[np.int64]]) -> float:
    """Mean negative log likelihood of each token but the first of a sample, given those before it.

    Logits are taken to fp32 and sums are kept in fp64, so that the result hardly depends on the batch size.

    Args:
        model: maps ids (batch, length) to logits (batch, length, vocabulary).
        batches: ids of shape (batch, length).
    """
    model.train(mode=False)
    total = torch.zeros((), dtype=torch.float64, device=model.device)
    count = 0
    for batch in batches:
        tokens = torch.from_numpy(batch).to(model.device)
        logits = model(input_ids=tokens, use_cache=False).logits[:, :-1].float()
        targets = tokens[:, 1:]
        total += functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").double().sum()
        count += targets.numel()
    return float(total) / count


@torch.no_grad()
def continue_prompt(model: PreTrainedModel, tokenizer: TextTokenizer, prompt: str, plan: RunPlan) -> str:
    """What the model writes after a prompt: sampled of its 50 likeliest tokens at temperature 0.8, by the plan's seed.

    A prompt without a token begins after an end of text; one that leaves no room in the model's positions loses its
    start.
    """
    from transformers import GenerationConfig

    new = min(plan.evaluation.max_new_tokens, plan.decoder.max_sequence_length - 1)
    ids = tokenizer.encode([prompt])[0] or [tokenizer.eos_token_id]
    ids = ids[-(plan.decoder.max_sequence_length - new) :]
    tokens = torch.tensor([ids], device=model.device)
    config = GenerationConfig.from_dict(
        {
            "max_new_tokens": new,
            "do_sample": True,
            "temperature": _TEMPERATURE,
            "top_k": _TOP_K,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.eos_token_id,
            # Rows that pad the embedding stand for no token.
            "suppress_tokens": list(range(tokenizer.vocab_size, plan.decoder.vocab_size)) or None,
            "use_cache": True,
        }
    )
    devices = [model.device] if model.device.type == "cuda" else []
    model.train(mode=False)
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(plan.seed)
        written = cast("GenerationMixin", model).generate(
            tokens, attention_mask=torch.ones_like(tokens), generation_config=config
        )
    return tokenizer.decode(cast("torch.Tensor", written)[0, len(ids) :].tolist())


def autocast(precision: PrecisionPlan, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The number format of the training's matrix products; fp8 is measured in bf16."""
    if precision.compute == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_LOWER[precision.compute])
