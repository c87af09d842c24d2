"""Small models of each family, for tests of what is removed from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["gpt2", "llama", "resnet", "tokens"]


def llama(**changes: Any) -> nn.Module:
    """Two layers, four heads in two key-value groups of size 8, 24 channels."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    sizes = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 32}
    torch.manual_seed(1)
    model: nn.Module = AutoModelForCausalLM.from_config(LlamaConfig(**{**sizes, **heads, **changes}))
    return model.eval()


def gpt2() -> nn.Module:
    """Two layers, four heads of size 8, 24 channels, with biases that aren't zero."""
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.manual_seed(1)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, n_inner=24, vocab_size=64, n_positions=32)
    model: nn.Module = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model.eval()


def resnet(*, bottleneck: bool = False, grouped: bool = False) -> nn.Module:
    """Four stages of one block on images of any size, with running statistics that aren't their initial ones.

    Group norms have 32 groups of 2 to 16 channels.
    """
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    torch.manual_seed(1)
    norm = {"norm_layer": lambda channels: nn.GroupNorm(32, channels)} if grouped else {}
    model: nn.Module = ResNet(Bottleneck if bottleneck else BasicBlock, [1, 1, 1, 1], num_classes=5, **norm)
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.bias, std=0.1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.normal_(module.bias, std=0.1)
    return model.eval()


def tokens() -> torch.Tensor:
    """[3, 20] token ids."""
    return torch.randint(0, 64, (3, 20), generator=torch.Generator().manual_seed(2))
