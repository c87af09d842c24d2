"""The Hugging Face decoder of a plan and its loss. Free of Composer, whose import takes seconds that a trace doesn't have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

from runtime import compat
from schemas.plan import ModelPlan

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["IGNORED", "blocks", "language_model_loss", "model_config"]

IGNORED: Final = -100
"""Target of positions that predict nothing."""


def model_config(model: ModelPlan, eos_token_id: int | None = None) -> PretrainedConfig:
    """The Hugging Face configuration of a plan's dimensions; the tokenizer's end of text also begins one."""
    from transformers import GPT2Config, LlamaConfig

    shared = {
        "vocab_size": model.vocab_size,
        "tie_word_embeddings": model.tie_embeddings,
        "initializer_range": model.init_std,
        "bos_token_id": eos_token_id,
        "eos_token_id": eos_token_id,
    }
    if model.family == "llama":
        return LlamaConfig(
            hidden_size=model.hidden_size,
            intermediate_size=model.intermediate_size,
            num_hidden_layers=model.num_layers,
            num_attention_heads=model.num_heads,
            num_key_value_heads=model.num_kv_heads,
            head_dim=model.hidden_size // model.num_heads,
            max_position_embeddings=model.max_sequence_length,
            rms_norm_eps=model.norm_eps,
            attention_bias=False,
            mlp_bias=False,
            **compat.rope_arguments(model.rope_theta),
            **shared,
        )
    return GPT2Config(
        n_positions=model.max_sequence_length,
        n_embd=model.hidden_size,
        n_layer=model.num_layers,
        n_head=model.num_heads,
        n_inner=model.intermediate_size,
        resid_pdrop=model.dropout,
        embd_pdrop=model.dropout,
        attn_pdrop=model.dropout,
        layer_norm_epsilon=model.norm_eps,
        **shared,
    )


def blocks(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The transformer blocks, in order; what FSDP shards one by one."""
    body = model.model.layers if hasattr(model, "model") else model.transformer.h
    return list(body)


def language_model_loss(logits: torch.Tensor, tokens: torch.Tensor, z_loss: float) -> dict[str, torch.Tensor]:
    """Mean cross entropy of each next token, in fp32, with PaLM's z-loss (section 5): z (log Z)^2.

    Args:
        logits: [batch, length, vocabulary], any float format.
        tokens: [batch, length]; the last position predicts nothing.
        z_loss: weight of the squared log-partition; 0 leaves it out, and with it its cost.

    Returns:
        `total`, and `cross_entropy` where they differ; nats per predicted token.
    """
    targets = functional.pad(tokens[:, 1:], (0, 1), value=IGNORED).flatten()
    flat = logits.float().flatten(0, 1)
    cross_entropy = functional.cross_entropy(flat, targets, ignore_index=IGNORED)
    if z_loss == 0:
        return {"total": cross_entropy}
    # Sliced, not picked by a mask: the GPU need not wait until a number of rows is known, and what stands in the last
    # position, which predicts nothing, can't spoil the rest (0 x inf).
    log_z = flat.logsumexp(dim=-1).view_as(tokens)[:, :-1]
    return {"total": cross_entropy + z_loss * log_z.square().mean(), "cross_entropy": cross_entropy}
