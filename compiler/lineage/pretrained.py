"""Models in Hugging Face folders by their config.json: family, exact dimensions, parameters. No weights are read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from compiler.estimate.architecture import Dimensions, count_parameters, section_of
from schemas.model import Family
from schemas.plan import ModelPlan

__all__ = ["Pretrained", "described", "hub_folder", "read_config", "unlike"]

_FAMILIES: Final[dict[str, Family]] = {"llama": "llama", "gpt2": "gpt2"}
"""`model_type` of a config -> the family that computes the same."""
_NEEDED: Final[Mapping[Family, tuple[str, ...]]] = MappingProxyType(
    {
        "llama": ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"),
        "gpt2": ("n_embd", "n_layer", "n_head", "vocab_size"),
    }
)
_LARGEST_CONFIG: Final = 10_000_000
# Values that transformers takes where a config leaves them out (its LlamaConfig and GPT2Config).
_ROPE_THETA: Final = 10_000.0
_DEFAULT_EPS: Final[dict[Family, float]] = {"llama": 1e-6, "gpt2": 1e-5}


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A model in a folder.

    Args:
        dimensions: its shape, with the rows of its embedding and its positions.
        dropout: of residuals, attention and embeddings; 0 for llama.
        rope_theta: base of the rotary frequencies; the language's default for gpt2, which has none.
        norm_eps: of its normalisations.
        init_std: standard deviation of the weights before its training.
    """

    dimensions: Dimensions
    dropout: float
    rope_theta: float
    norm_eps: float
    init_std: float

    @property
    def family(self) -> Family:
        """What it is: llama or gpt2."""
        return self.dimensions.family

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return self.dimensions.vocabulary

    @property
    def num_parameters(self) -> int:
        """All parameters, shared ones once."""
        return count_parameters(self.dimensions)

    def as_plan(self) -> ModelPlan:
        """The same as a section of the plan; how its attention is computed and whether it is compiled are the recipe's."""
        return section_of(
            self.dimensions,
            dropout=self.dropout,
            rope_theta=self.rope_theta,
            norm_eps=self.norm_eps,
            init_std=self.init_std,
        )


def read_config(folder: Path) -> Mapping[str, Any] | None:
    """What a folder's config.json holds; None if there is none that can be read."""
    file = folder / "config.json"
    try:
        if file.stat().st_size > _LARGEST_CONFIG:
            return None
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def described(folder: Path) -> Pretrained | None:
    """The model in a folder; None if there is none, or it is of no family that is known here."""
    config = read_config(folder)
    if config is None or unlike(config):
        return None
    return _llama(config) if config["model_type"] == "llama" else _gpt2(config)


def unlike(config: Mapping[str, Any]) -> str:
    """Why a model can't be built from dimensions alone, in words; empty if it can."""
    family = _FAMILIES.get(str(config.get("model_type")))
    if family is None and config.get("family") == "resnet":  # recipec's own export
        return "it is a resnet, which classifies images"
    if family is None:
        return f"it is a `{config.get('model_type')}`, and models here are {' or '.join(_FAMILIES)}"
    wrong = [key for key in _NEEDED[family] if not _is_count(config.get(key))]
    if wrong:
        return f"its config.json has no usable {', '.join(wrong)}"
    return _odd_llama(config) if family == "llama" else _odd_gpt2(config)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _odd_llama(config: Mapping[str, Any]) -> str:
    """A setting of a llama that its family here doesn't have."""
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    rope = _rope(config)
    odd = {
        "attention_bias": bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
        "head_dim": (config.get("head_dim") or hidden // heads) * heads != hidden,
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "rope_scaling": rope.get("rope_type", rope.get("type", "default")) not in ("default", None),
    }
    found = next((key for key, is_odd in odd.items() if is_odd), None)
    return f"its `{found}` is {config.get(found)!r}, which the family llama here doesn't have" if found else ""


def _odd_gpt2(config: Mapping[str, Any]) -> str:
    """A setting of a gpt2 that its family here doesn't have."""
    # gelu_new is the tanh form, which GPT-2 was trained with.
    odd = {
        "activation_function": config.get("activation_function", "gelu_new") not in ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_by_inverse_layer_idx": bool(config.get("scale_attn_by_inverse_layer_idx")),
    }
    found = next((key for key, is_odd in odd.items() if is_odd), None)
    return f"its `{found}` is {config.get(found)!r}, which the family gpt2 here doesn't have" if found else ""


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of rotary positions: `rope_scaling` up to transformers 4, `rope_parameters` from 5 on."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return found if isinstance(found, Mapping) else {}


def _llama(config: Mapping[str, Any]) -> Pretrained:
    heads = int(config["num_attention_heads"])
    dimensions = Dimensions(
        family="llama",
        vocabulary=int(config["vocab_size"]),
        hidden=int(config["hidden_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        intermediate=int(config["intermediate_size"]),
        positions=int(config.get("max_position_embeddings") or 2048),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
    theta = _rope(config).get("rope_theta") or config.get("rope_theta") or _ROPE_THETA
    eps = config.get("rms_norm_eps", _DEFAULT_EPS["llama"])
    return Pretrained(dimensions, 0.0, float(theta), float(eps), float(config.get("initializer_range", 0.02)))


def _gpt2(config: Mapping[str, Any]) -> Pretrained:
    hidden, heads = int(config["n_embd"]), int(config["n_head"])
    dimensions = Dimensions(
        family="gpt2",
        vocabulary=int(config["vocab_size"]),
        hidden=hidden,
        layers=int(config["n_layer"]),
        heads=heads,
        kv_heads=heads,
        intermediate=int(config.get("n_inner") or 4 * hidden),
        positions=int(config.get("n_positions") or 1024),
        tied=bool(config.get("tie_word_embeddings", True)),
    )
    eps = config.get("layer_norm_epsilon", _DEFAULT_EPS["gpt2"])
    dropout = float(config.get("resid_pdrop", 0.1))
    return Pretrained(dimensions, dropout, _ROPE_THETA, float(eps), float(config.get("initializer_range", 0.02)))


def hub_folder(name: str, revision: str | None) -> Path | None:
    """The folder of a hub's model in this machine's cache, of that revision; None if it was never fetched. Asks nobody.

    The cache keeps `models--<owner>--<name>/refs/<branch>` (a commit) and `snapshots/<commit>/`.
    """
    cache = _hub_cache() / f"models--{name.replace('/', '--')}"
    commit = revision or "main"
    try:
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            commit = (cache / "refs" / commit).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    folder = cache / "snapshots" / commit
    return folder if folder.is_dir() else None


def _hub_cache() -> Path:
    """Where huggingface_hub keeps what it fetched, by its own environment variables."""
    if found := os.environ.get("HF_HUB_CACHE"):
        return Path(found)
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"
    )
    return Path(home) / "hub"
