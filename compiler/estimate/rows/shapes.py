"""The shape of a decoder from what a table says of it: dimensions where given, else a public configuration of that name."""

from __future__ import annotations

import csv
import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from compiler.estimate.workload import Shape

__all__ = ["Dimensions", "count_parameters", "known_shapes", "shape_of"]

_FILE: Final = Path(__file__).parent.parent.parent / "catalog" / "models.csv"
# Remarks and separators; the point of "1.3b" is part of the name.
_NOISE: Final = re.compile(r"\(.*?\)|\b\d+[- ]?nodes?\b|[\s_\-/]+|(?<!\d)\.|\.(?!\d)|instruct|proxy")
# A name alone is believed when the stated parameters are within 5 % of the configuration's.
_TOLERANCE: Final = 0.05
# Stated counts are rounded, or leave embeddings out: within this factor they are the same model's.
_ROUNDED: Final = 1.33
# Names of one shape: an owner before a slash; llama 3.1 and 3.3 are llama 3; tuned and dated releases; descendants.
_SAME: Final = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"^[\w.-]+/(?=\w{4})", ""),
        (r"^meta[-_ ]?(?=llama)", ""),
        (r"[-_ ](?:hf|chat|base|it|lora|sft|pretrain(?:ed|ing)?|v0\.\d|v1(?:\.\d)?|1124|0325)(?=$|[-_ ])", ""),
        (r"^(llama[-_ ]?)33b", r"\g<1>30b"),
        (r"llama[-_ ]?3[._]?[13](?=\D|$)", "llama3"),
        (r"llama[-_ ]?1(?=[-_ ])|^vicuna|^alpaca|^open[-_ ]?llama(?=[-_ ](?:7|13)b)", "llama"),
        (r"deepseek[-_ ]?llm", "deepseek"),
        (r"deepseek[-_ ]?r1(?=$|[-_ ]671b)", "deepseek-v3"),
        (r"^gpt-?2(?:[-_ ]small)?$", "gpt2-124m"),
        (r"^gpt-?2[-_ ](?:medium|345m|350m)$", "gpt2-355m"),
        (r"^gpt-?2[-_ ]large$", "gpt2-774m"),
        (r"^gpt-?2[-_ ]xl$", "gpt2-1.5b"),
        (r"^gpt-?j$", "gptj-6b"),
        (r"^(?:gpt[-_ ]?)?neox[-_ ](?=20b)", "gpt-neox-"),
        (r"^bloom$", "bloom-176b"),
        (r"^bloom[-_ ]7b$", "bloom-7b1"),
        (r"^nemotron[-_ ]?(?=15b|340b)", "nemotron4-"),
        (r"phi[-_ ]?3\.5[-_ ]mini", "phi-3-mini"),
        (r"^yi[-_ ]1\.5[-_ ]", "yi-"),
        (r"^glm[-_ ]?4\.6", "glm-4.5"),
        (r"^smollm[-_ ]", "smollm2-"),
        (r"^tinyllama$", "tinyllama-1.1b"),
        (r"^qwen2[-_ ](?=0\.5b|1\.5b|7b|72b)", "qwen2.5-"),
    )
)


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What a table says of a model; None where it is silent.

    Args:
        parameters, active_parameters, layers, hidden, heads, kv_heads, intermediate, vocabulary: as in `Shape`.
        positions: rows of a position table if the model has a learned one (the sequence length).
    """

    parameters: int | None
    active_parameters: int | None
    layers: int | None
    hidden: int | None
    heads: int | None
    kv_heads: int | None
    intermediate: int | None
    vocabulary: int | None
    positions: int


def count_parameters(shape: Shape) -> int:
    """All parameters of a decoder with two norms per layer and one at the end, exact for llama, GPT-2 and MPT."""
    s = shape
    inner = s.heads * s.head_size
    grouped = s.kv_heads * s.head_size
    matrices = 3 if s.gated else 2
    attention = 2 * s.hidden * inner + 2 * s.hidden * grouped
    mlp = matrices * s.hidden * s.intermediate * s.experts
    router = s.hidden * s.experts if s.experts > 1 else 0
    biases = inner + 2 * grouped + s.hidden + (matrices - 1) * s.intermediate + s.hidden if s.biases else 0
    norm = s.hidden * (2 if s.biases else 1)
    embeddings = s.vocabulary * s.hidden * (1 if s.tied else 2) + s.positions * s.hidden
    return s.layers * (attention + mlp + router + biases + 2 * norm) + norm + embeddings


@functools.cache
def known_shapes() -> Mapping[str, Shape]:
    """Public configurations by plain name (lower case, no separators but the point of a number), from catalog/models.csv."""
    with _FILE.open(encoding="utf-8", newline="") as handle:
        return MappingProxyType({_plain(row["name"]): _known(row) for row in csv.DictReader(handle)})


def _known(row: Mapping[str, str]) -> Shape:
    shape = Shape(
        **{
            name: int(row[name])
            for name in (
                "layers",
                "hidden",
                "heads",
                "kv_heads",
                "head_size",
                "intermediate",
                "vocabulary",
                "positions",
            )
        },
        gated=row["gated"] == "1",
        tied=row["tied"] == "1",
        biases=row["biases"] == "1",
        parameters=int(row["parameters"] or 0),
        active_parameters=int(row["active_parameters"] or 0),
        experts=int(row["experts"] or 1),
        active_experts=int(row["active_experts"] or 1),
    )
    return _counted(shape)


def _counted(shape: Shape) -> Shape:
    parameters = shape.parameters or count_parameters(shape)
    return replace(shape, parameters=parameters, active_parameters=shape.active_parameters or parameters)


def _plain(name: str) -> str:
    plain = name.lower().strip()
    for pattern, replacement in _SAME:
        plain = pattern.sub(replacement, plain)
    return _NOISE.sub("", plain)


@functools.lru_cache(maxsize=4096)
def shape_of(name: str, said: Dimensions) -> Shape | str:
    """The shape, or why there is none.

    Args:
        name: of the model, any spelling (`LLAMA3.1_405B`, `llama3-405b`).
        said: dimensions of the table; they win over a configuration of the same name that disagrees.
    """
    known = _lookup(_plain(name), said.parameters)
    if known is not None and _agrees(known, said):
        if reason := _contradiction(name, known, said):
            return reason
        return _counted(
            replace(
                known,
                vocabulary=said.vocabulary or known.vocabulary,
                positions=said.positions if known.positions else 0,
                parameters=said.parameters or (known.parameters if known.experts > 1 else 0),
                active_parameters=said.active_parameters or (known.active_parameters if known.experts > 1 else 0),
            )
        )
    if said.active_parameters and said.parameters and said.active_parameters < said.parameters:
        return f"the experts of {name!r} are not known"
    if said.active_parameters and said.parameters and said.active_parameters > _ROUNDED * said.parameters:
        return f"{said.active_parameters} active parameters are more than all of {name!r}"
    return _from_dimensions(name, said)


def _contradiction(name: str, known: Shape, said: Dimensions) -> str | None:
    """Why the stated parameters can't be those of the known model, rounded ("7B" for 6.74) or counted otherwise; else None."""
    stated, active = said.parameters or known.parameters, said.active_parameters
    if not 1 / _ROUNDED <= stated / known.parameters <= _ROUNDED:
        return f"{name!r} has {known.parameters} parameters, not {stated}"
    if active and active > _ROUNDED * stated:
        return f"{active} active parameters are more than all of {name!r}"
    if active and known.experts == 1 and active < stated / _ROUNDED:
        return f"the experts of {name!r} are not known"
    return None


def _lookup(plain: str, parameters: int | None) -> Shape | None:
    shapes = known_shapes()
    if plain in shapes:
        return shapes[plain]
    keys = [key for key in shapes if plain.startswith(key)]
    if not keys:
        return None
    name = max(keys, key=len)
    if parameters is None and (said := re.match(r"\d{1,4}(?:\.\d{1,3})?(?=b)", plain[len(name) :])):
        parameters = round(float(said[0]) * 1e9)  # "DeepSeek V3 671B" says its size itself
    if parameters is None:
        return None
    longest = shapes[name]
    return longest if abs(longest.parameters / parameters - 1) <= _TOLERANCE else None


def _agrees(known: Shape, said: Dimensions) -> bool:
    pairs = (
        (known.layers, said.layers),
        (known.hidden, said.hidden),
        (known.heads, said.heads),
        (known.kv_heads, said.kv_heads),
        (known.intermediate, said.intermediate),
    )
    return all(stated is None or ours == stated for ours, stated in pairs)


def _from_dimensions(name: str, said: Dimensions) -> Shape | str:
    if said.hidden is None or said.heads is None or said.vocabulary is None:
        return f"width, heads or vocabulary of {name!r} are neither given nor known"
    if said.layers is None and said.parameters is None:
        return f"neither layers nor parameters of {name!r} are given"
    if said.hidden % said.heads:
        return f"{said.heads} heads do not divide the width {said.hidden}"
    variants = list(_variants(said, said.hidden, said.heads, said.vocabulary))
    if said.parameters is None:
        return _counted(variants[0])
    target = said.parameters
    best = min(variants, key=lambda shape: abs(count_parameters(shape) / target - 1))
    if not 0.5 <= count_parameters(best) / target <= 2:
        return f"{target} parameters do not follow from the dimensions ({count_parameters(best)})"
    return replace(best, parameters=target, active_parameters=said.active_parameters or target)


def _variants(said: Dimensions, hidden: int, heads: int, vocabulary: int) -> Iterator[Shape]:
    """Every family that the dimensions allow, the likeliest first: GPT's wide MLP is four times the width, llama's is not."""
    classic = said.intermediate in (None, 4 * hidden)
    for gated, tied, biases in itertools.product(
        (not classic, classic), (classic, not classic), (classic, not classic)
    ):
        for positions in (said.positions, 0) if biases else (0,):
            shape = Shape(
                layers=said.layers or 1,
                hidden=hidden,
                heads=heads,
                kv_heads=said.kv_heads or heads,
                head_size=hidden // heads,
                intermediate=said.intermediate or 4 * hidden,
                vocabulary=vocabulary,
                gated=gated,
                tied=tied,
                positions=positions,
                biases=biases,
                parameters=0,
                active_parameters=0,
            )
            if said.layers is not None:
                yield shape
            elif gated != classic:
                yield replace(shape, layers=_solve_layers(shape, said.parameters or 0))


def _solve_layers(shape: Shape, parameters: int) -> int:
    layer = count_parameters(replace(shape, layers=2)) - count_parameters(shape)
    return max(1, round((parameters - count_parameters(replace(shape, layers=0))) / layer))
