"""The layers of a model whose weights may be removed, by name: those inside its blocks, never embeddings, norms or the output.

A layer is inside a block if a number stands in its name: `model.layers.0.mlp.up_proj`, `transformer.h.0.attn.c_attn`,
`layer1.0.conv1`. Wrappers (Composer's, DDP, FSDP, recomputed activations) are left out of the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

from torch import nn

from runtime.errors import RunFailed

__all__ = ["INPUT_DIM", "Modules", "clean_name", "group_of", "is_excluded", "prunable", "unmatched"]

Modules = Mapping[str, nn.Module]
Group = Literal["mlp", "attention"]

INPUT_DIM: Final = {"Linear": 1, "Conv2d": 1, "Conv1D": 0}
"""Dimension of a layer's inputs in its weight; GPT-2 calls its linear layers Conv1D, and keeps their weight transposed."""

_WRAPPERS: Final = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
_PARTS: Final[dict[str, Group]] = {"mlp": "mlp", "self_attn": "attention", "attn": "attention"}


def clean_name(name: str) -> str:
    """The name that a layer or a weight has in a state dict."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def group_of(name: str) -> Group | None:
    """Whether a layer belongs to the MLP or the attention of its block; None in networks that have neither."""
    return next((_PARTS[part] for part in name.split(".") if part in _PARTS), None)


def is_excluded(name: str, exclude: Sequence[str]) -> bool:
    """Whether one of the recipe's patterns names the layer.

    `down_proj` is that layer of every block, `layers.0.mlp` a part of one; with a `*` the pattern must be the whole name, of
    which Composer's wrapper (`model.`) may be left out. Factors go by the name of the layer that they stand for.
    """
    whole = name.removesuffix(".down").removesuffix(".up")
    return any(
        fnmatchcase(whole, pattern) or fnmatchcase(whole.removeprefix("model."), pattern)
        if "*" in pattern
        else f".{pattern}." in f".{whole}."
        for pattern in exclude
    )


def prunable(modules: Modules, targets: str = "all", exclude: Sequence[str] = ()) -> dict[str, nn.Module]:
    """The layers that a technique works on.

    Args:
        modules: a model's, or a part's, by clean name.
        targets: all, mlp or attention.
        exclude: what stays whole, see `is_excluded`.
    """
    return {
        name: module
        for name, module in modules.items()
        if type(module).__name__ in INPUT_DIM
        and any(part.isdigit() for part in name.split("."))
        and targets in ("all", group_of(name))
        and not is_excluded(name, exclude)
    }


def unmatched(names: Iterable[str], exclude: Sequence[str]) -> None:
    """Refuse a pattern that no layer has: what it was meant to spare would be pruned.

    Raises:
        RunFailed: it matches nothing (RC203).
    """
    known = list(names)
    for pattern in exclude:
        if not any(is_excluded(name, [pattern]) for name in known):
            shown = ", ".join(known[:4])
            message = f"`exclude: {pattern}` names no layer that is pruned; they are {shown}, ..."
            raise RunFailed("RC203", message, "write one of these names, or a part of one such as `layers.0.mlp`")
