"""A causal language model of a few thousand weights with a tokenizer of words, as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

__all__ = ["WORDS", "write_model"]

WORDS = ("sun", "moon", "river", "stone", "walks", "under", "the", "a", "light", "dances")


def write_model(folder: Path, seed: int, positions: int = 32) -> Path:
    """A random llama that reads `WORDS`, 32 of them at once."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(("?", *WORDS))}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = LlamaConfig(
        vocab_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=positions,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data.mul_(20)  # so that losses of texts differ
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
