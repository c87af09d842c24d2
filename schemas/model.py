"""What a recipe says of the model and its tokenizer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text, short_for
from schemas.units import Bytes, Count

__all__ = ["DECODER_KEYS", "RESNET_KEYS", "Family", "Model", "Objective", "ResNetDepth", "Start", "Tokenizer"]

Family = Literal["llama", "gpt2", "resnet"]

ResNetDepth = Literal[18, 34, 50, 101, 152, 8, 14, 20, 32, 44, 56, 110]
"""Layers with weights: He et al. 2016, table 1 (18 to 152), and 6 n + 2 of its section 4.2 (8 to 110)."""


class Objective(Frozen):
    """What is learnt. `objective: classification` is short for `{kind: classification}`."""

    kind: Literal["causal_lm", "classification"] = Field(
        "causal_lm", description="causal_lm: predict the next token; classification: the class of an image."
    )
    z_loss: Float = Field(
        0.0,
        ge=0,
        le=1,
        description="Weight of (log Z)^2, which keeps logits from drifting (PaLM, section 5, uses 1e-4); 0 is off.",
    )
    label_smoothing: Fraction = Field(
        0.0,
        lt=1,
        description="classification: share of the target that is spread evenly over all classes (Szegedy et al. 2016); "
        "0 is off.",
    )

    @model_validator(mode="after")
    def _own_terms(self) -> Objective:
        key = "z_loss" if self.kind == "classification" else "label_smoothing"
        if getattr(self, key) > 0:
            raise PydanticCustomError(
                "conflict",
                "`{key}` is no part of the objective `{kind}`",
                {"key": key, "kind": self.kind, "fix": f"{key}: 0"},
            )
        return self


class Start(Frozen):
    """Trained weights to begin with, instead of random ones. `start: models/base` is short for `{folder: models/base}`."""

    run: Name | None = Field(
        None,
        description="An earlier run of `sequence` by name, or `previous`: the one just before.",
        examples=["pretrain"],
    )
    folder: Text | None = Field(
        None,
        description="Hugging Face folder, or a classifier's export, beside the recipe or absolute; dimensions and tokenizer "
        "follow it.",
    )
    hub: Text | None = Field(None, description="Name on the Hugging Face hub; the recipe says its dimensions.")
    revision: Text | None = Field(None, description="Commit of the hub's repository, so that it can't change.")

    @model_validator(mode="after")
    def _one_place(self) -> Start:
        given = [name for name in ("run", "folder", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "conflict",
                "weights come from exactly one of `run`, `folder` and `hub`",
                {"first": given[0], "key": given[1], "fix": ""}
                if given
                else {"key": "start", "fix": "start: {run: previous}"},
            )
        if self.revision is not None and self.hub is None:
            raise PydanticCustomError(
                "conflict", "only the hub has revisions", {"key": "revision", "fix": "hub: organisation/model"}
            )
        return self


class Model(Frozen):
    """Family and size; every dimension that is left out is derived from `size`, and shown by `recipec plan`."""

    start: Annotated[Start, short_for("folder")] | None = Field(
        None, description="Begin with trained weights: of an earlier run, a folder or the hub."
    )
    family: Family = Field(
        "llama",
        description="llama (RoPE, RMSNorm, SwiGLU) or gpt2 (learned positions, LayerNorm, GELU); resnet (He et al. 2016) "
        "for `objective: classification`.",
    )
    depth: ResNetDepth | None = Field(
        None,
        description="resnet: layers with weights. 18 to 152 have four stages, for photographs; 8, 14, 20, ... have three, "
        "for small images (He et al. 2016, section 4.2).",
        examples=[18],
    )
    width: Integer | None = Field(
        None, ge=1, le=4096, description="resnet: channels of the first stage; default 64, of three stages 16."
    )
    stem: Literal["imagenet", "small"] | None = Field(
        None,
        description="resnet: imagenet is a 7x7 convolution and a pooling, which divide height and width by 4; small is a 3x3 "
        "convolution. Default: imagenet from images of 64 pixels on, and never with three stages.",
    )
    norm: Literal["batch", "group"] = Field(
        "batch",
        description="resnet: normalise over the micro-batch, or over 32 groups of channels of one image (Wu & He 2018), which "
        "no other image changes.",
    )
    num_classes: Integer | None = Field(
        None, ge=2, le=1 << 20, description="resnet: classes; default: those of the sources, where they can be seen."
    )
    size: Literal["auto"] | Annotated[Count, Field(ge=1000, le=10**14)] | None = Field(
        None, description="Parameters, such as 1.3B; `auto` takes the optimum of `budget`.", examples=["auto", "1.3B"]
    )
    hidden_size: Integer | None = Field(
        None, ge=8, le=1 << 17, description="Width of the residual stream.", examples=[768]
    )
    num_layers: Integer | None = Field(None, ge=1, le=1000, description="Number of transformer blocks.", examples=[12])
    num_heads: Integer | None = Field(
        None, ge=1, le=4096, description="Attention heads; divides hidden_size.", examples=[8]
    )
    num_kv_heads: Integer | None = Field(
        None, ge=1, le=4096, description="Key-value heads (grouped-query attention, llama only); divides num_heads."
    )
    intermediate_size: Integer | None = Field(
        None, ge=8, le=1 << 19, description="Width inside the MLP.", examples=[2_048]
    )
    vocab_size: Integer | None = Field(
        None,
        ge=2,
        le=1 << 22,
        description="Rows of the embedding; default: the tokenizer's, padded to a multiple of 64.",
        examples=[32_768],
    )
    tie_embeddings: bool = Field(True, strict=True, description="Share the embedding with the output layer.")
    dropout: Fraction = Field(0.0, lt=1, description="Dropout of residuals, attention and embeddings (gpt2 only).")
    rope_theta: Float = Field(10_000.0, gt=0, le=1e9, description="Base of the rotary frequencies (llama only).")
    init_std: Float = Field(0.02, gt=0, le=1, description="Standard deviation of initial weights.")
    attention: Literal["sdpa", "eager", "flash_attention_2"] = Field(
        "sdpa", description="Attention kernel; sdpa is torch's own and runs everywhere."
    )


RESNET_KEYS = frozenset({"depth", "width", "stem", "norm", "num_classes"})
"""Keys of `model` that only a resnet has."""
DECODER_KEYS = frozenset(Model.model_fields) - RESNET_KEYS - {"start", "family"}
"""Keys of `model` that only a language model has."""


class Tokenizer(Frozen):
    """Train a byte-level BPE on the recipe's sources, or load a tokenizer from a folder or the hub."""

    kind: Literal["bpe", "pretrained"] = Field(
        "bpe", description="bpe: train one on the sources; pretrained: load one."
    )
    vocab_size: Integer | None = Field(
        None,
        ge=257,
        le=1 << 20,
        description="Size of the vocabulary; bpe: default 32768. A hub tokenizer must say it: it can't be looked up here.",
        examples=[32_768],
    )
    max_bytes: Bytes = Field(
        100_000_000, ge=1, description="bpe: bytes of text to train on, shared by the sources by weight."
    )
    path: Text | None = Field(
        None, description="pretrained: folder with tokenizer.json, beside the recipe or absolute."
    )
    hub: Text | None = Field(None, description="pretrained: name on the Hugging Face hub.", examples=["gpt2"])
    revision: Text | None = Field(
        None, description="pretrained: commit of the hub's repository, so that it can't change."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Tokenizer:
        given = [name for name in ("path", "hub") if getattr(self, name) is not None]
        if self.kind == "bpe" and (given or self.revision):
            raise PydanticCustomError(
                "conflict",
                "a tokenizer that is trained has no `{key}`",
                {"key": (given or ["revision"])[0], "fix": "kind: pretrained"},
            )
        if self.kind == "pretrained" and len(given) != 1:
            raise PydanticCustomError(
                "conflict",
                "a pretrained tokenizer needs either `path` or `hub`",
                {"first": "path", "key": "hub", "fix": ""}
                if given
                else {"key": "kind", "fix": "path: tokenizers/mine"},
            )
        return self
