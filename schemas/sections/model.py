"""Sections of the plan on the model: what is learnt, exact dimensions, first weights, tokenizer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text

__all__ = ["ModelPlan", "ObjectivePlan", "ResNetPlan", "StartPlan", "TokenizerPlan"]


class ObjectivePlan(Frozen):
    """What is learnt."""

    kind: Literal["causal_lm", "classification"]
    z_loss: Float
    label_smoothing: Fraction


class ModelPlan(Frozen):
    """Exact dimensions of a language model. `num_parameters` counts shared matrices once, as the built model does."""

    family: Literal["llama", "gpt2"]
    num_parameters: Integer
    num_embedding_parameters: Integer
    vocab_size: Integer
    hidden_size: Integer
    num_layers: Integer
    num_heads: Integer
    num_kv_heads: Integer
    intermediate_size: Integer
    max_sequence_length: Integer
    tie_embeddings: bool
    dropout: Fraction
    rope_theta: Float
    norm_eps: Float
    init_std: Float
    attention: Literal["sdpa", "eager", "flash_attention_2"]
    compile: bool

    @property
    def macs_per_token(self) -> int:
        """Multiply-adds of the forward pass on one token, by the usual count: each parameter once (Kaplan et al. 2020)."""
        return self.num_parameters


class ResNetPlan(Frozen):
    """A residual network for images (He et al. 2016, arXiv 1512.03385), as torchvision builds it.

    `num_parameters` and `macs` equal the built model's. Weights have torchvision's names. Of normalisation the weights count,
    not the running means and variances.
    """

    family: Literal["resnet"]
    num_parameters: Integer
    macs: Integer = Field(description="Multiply-adds of one image's forward pass, of convolutions and the last layer.")
    depth: Integer
    block: Literal["basic", "bottleneck"]
    blocks: tuple[Integer, ...] = Field(description="Residual blocks of each stage.")
    width: Integer = Field(description="Channels of the first stage; each further one has twice as many.")
    stem: Literal["imagenet", "small"]
    norm: Literal["batch", "group"]
    num_classes: Integer
    channels: Integer
    image_size: Integer = Field(description="Height and width, pixels.")
    compile: bool

    @property
    def macs_per_token(self) -> int:
        """Multiply-adds of the forward pass on one sample; an image counts as one token."""
        return self.macs


class StartPlan(Frozen):
    """The trained weights that a run begins with."""

    kind: Literal["run", "folder", "hub"]
    run: Name | None = Field(description="Id of an earlier run of the same plan.")
    fingerprint: Text | None = Field(description="Of that run, so that another one is another start.")
    folder: Text | None
    hub: Text | None
    revision: Text | None


class TokenizerPlan(Frozen):
    """Where the tokenizer comes from; `vocab_size` counts its tokens, special ones included, before padding."""

    kind: Literal["bpe", "pretrained"]
    vocab_size: Integer
    max_bytes: Integer
    path: Text | None
    hub: Text | None
    revision: Text | None
