"""Every technique in the forms that its promises are proved for: what a plan lists, what it starts from, who teaches it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runtime.models.planned import build_untrained
from runtime.steps import logits
from runtime.steps.base import Context
from schemas.plan import RunPlan, Step
from tests.runtime import elastic
from tests.runtime.images import case as images
from tests.runtime.training_case import layout_of
from tests.runtime.training_case import plan_of as tiny

__all__ = ["BATCH", "CASES", "SAVED", "STEPS", "Case", "idle", "over", "plan_of", "set_up"]

STEPS: Final = 6
SAVED: Final = 2
"""Steps from one checkpoint to the next; what is killed after step 3 goes on after step 2."""
BATCH: Final = 512
IMAGES: Final = 32
"""Tokens of a batch of text; images of a batch of digits, which count as tokens."""
SIZES: Final = {"code": 24, "prose": 30}
"""Train samples of the sources; of `code` 36 are drawn, so that a second permutation begins."""
GPT2: Final = {"family": "gpt2", "num_parameters": 27_040, "num_embedding_parameters": 18_432, "dropout": 0.1}
LAYERS: Final = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Case:
    """A plan with a technique.

    Args:
        kind: of the technique; `precision` for number formats.
        algorithms: of the plan.
        plan: further sections.
        ranks: the case is proved on two ranks, too.
        digits: a classifier on digits, not a language model on numbered samples.
    """

    kind: str
    algorithms: tuple[Mapping[str, Any], ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    ranks: bool = False
    digits: bool = False


def over(first: int, end: int = STEPS, tokens: int = BATCH) -> dict[str, int]:
    """A window of steps."""
    return {"start_token": first * tokens, "end_token": end * tokens}


def _start(folder: str) -> dict[str, Any]:
    return {"kind": "folder", "run": None, "fingerprint": None, "folder": folder, "hub": None, "revision": None}


def _warmup(**said: Any) -> dict[str, Any]:
    plain = {"start_length": 16, "end_length": 64, "step_size": 8, "truncate": True}
    return {"kind": "sequence_length_warmup", "window": over(0, 4), **plain, **said}


def _clipped(clipping: str, threshold: float, **said: Any) -> dict[str, Any]:
    return {"kind": "gradient_clipping", "window": over(0), "clipping": clipping, "threshold": threshold, **said}


def _average(first: int, **said: Any) -> dict[str, Any]:
    return {"kind": "ema", "window": over(first), "smoothing": 0.7, "update_interval_steps": 1, **said}


def _factors(**said: Any) -> dict[str, Any]:
    measure = {"rank": None, "energy": None, "parameters": None, **said}
    return {"kind": "low_rank", "window": over(0), "targets": LAYERS, **measure}


def _adapters(**said: Any) -> dict[str, Any]:
    plain = {"rank": 4, "alpha": 8.0, "dropout": 0.1, "targets": LAYERS, "rank_stabilized": False, "base": "full"}
    return {"kind": "lora", "window": over(0), **plain, **said}


def _taught(**said: Any) -> dict[str, Any]:
    teachers = [{"folder": "teacher"}, {"folder": "other"}]
    plain = {"window": over(1, 5), "teachers": teachers, "temperature": 2.0, "weight": 0.5}
    return {"kind": "distillation", **plain, **said}


def _pruned(**said: Any) -> dict[str, Any]:
    return {"kind": "pruning", "window": over(1, 5), "sparsity": 0.5, "scope": "layer", "interval_steps": 1, **said}


def _rounded(first: int, **said: Any) -> dict[str, Any]:
    grid = {"weights": "int4", "granularity": "group", "group_size": 16, "activations": "none", "exclude": []}
    return {"kind": "quantization", "window": over(first), "mode": "qat", **grid, **said}


_INT8: Final = {"weights": "int8", "granularity": "channel", "group_size": None, "activations": "int8"}
_BASE: Final = {"start": _start("base")}

CASES: Final[dict[str, Case]] = {
    "short sequences": Case("sequence_length_warmup", (_warmup(),), ranks=True),
    "sequences in pieces": Case("sequence_length_warmup", (_warmup(truncate=False),)),
    "clipped by norm": Case("gradient_clipping", (_clipped("norm", 0.1),), ranks=True),
    "clipped by unit": Case("gradient_clipping", (_clipped("adaptive", 0.01),)),
    "averaged": Case("ema", (_average(1),), ranks=True),
    "averaged after it, at times": Case("ema", (_average(4, update_interval_steps=2),)),
    "factors by energy": Case("low_rank", (_factors(energy=0.6),), _BASE, ranks=True),
    "factors by parameters, averaged": Case("low_rank", (_factors(parameters=0.5), _average(1)), _BASE),
    "adapters": Case("lora", (_adapters(),), _BASE, ranks=True),
    "adapters over nf4": Case("lora", (_adapters(base="nf4"),), _BASE),
    "adapters, averaged": Case("lora", (_adapters(rank_stabilized=True), _average(1)), _BASE),
    "adapters over bf16": Case("lora", (_adapters(),), {**_BASE, "precision": {"param": "bf16"}}),
    "one teacher by chance": Case("distillation", (_taught(sampling="one", probability=0.6),), ranks=True),
    "two teachers each second step": Case("distillation", (_taught(every=2, loss="reverse_kl"),)),
    "taught until the kill": Case("distillation", (_taught(window=over(0, 3), loss="mse", temperature=1.0),)),
    "kept logits": Case("distillation", (_taught(top_k=9),), ranks=True),
    "pruned by layer": Case("pruning", (_pruned(initial=0.2),), ranks=True),
    "pruned over all layers": Case("pruning", (_pruned(scope="global", schedule="linear"),)),
    "pruned 2:4": Case("pruning", (_pruned(method="2:4"),)),
    "pruned by channel and head": Case("pruning", (_pruned(method="structured", norm="l2"),)),
    "pruned at once": Case("pruning", (_pruned(schedule="oneshot", window=over(2, 2)),)),
    "pruned in part": Case("pruning", (_pruned(exclude=["down_proj"], targets="mlp"), _average(1))),
    "pruned, zeros held": Case("pruning", (_pruned(schedule="hold", window=over(0, 0)),), {"start": _start("thin")}),
    "pruned convolutions": Case("pruning", (_pruned(method="structured", window=over(1, 5, IMAGES)),), digits=True),
    "rounded before the kill": Case("quantization", (_rounded(1),), ranks=True),
    "rounded from the checkpoint on": Case("quantization", (_rounded(2),)),
    "rounded after the kill": Case("quantization", (_rounded(4),)),
    "rounded inputs, averaged": Case("quantization", (_rounded(1, **_INT8), _average(2))),
    "rounded in the end": Case("quantization", (_rounded(STEPS, mode="ptq"),)),
    "rounded convolutions": Case("quantization", (_rounded(0, **_INT8, window=over(1, STEPS, IMAGES)),), digits=True),
    "weights in bf16": Case("precision", (), {"precision": {"param": "bf16"}}, ranks=True),
    "norms in low precision": Case("precision", (), {"model": GPT2, "precision": {"norms": "low"}}),
    "all that compose": Case(
        "distillation",
        (_warmup(), _taught(sampling="one"), _pruned(), _rounded(2), _clipped("norm", 0.1), _average(1)),
        ranks=True,
    ),
}  # fmt: skip
"""By name. Each kind is here, and on two ranks at least once; the windows hold step 3, after which processes are killed."""

_IDLE: Final[dict[str, dict[str, Any]]] = {
    "sequence_length_warmup": _warmup(),
    "gradient_clipping": _clipped("norm", 0.1),
    "ema": _average(0),
    "distillation": _taught(),
    "pruning": _pruned(),
    "quantization": _rounded(0),
}


def idle() -> dict[str, dict[str, Any]]:
    """Kinds that act in a window, with one that begins when the run is over: the others change what the model is made of.

    One step later, for pruning acts after the last step of a window that ends there.
    """
    return {kind: {**spec, "window": over(STEPS + 1, STEPS + 1)} for kind, spec in _IDLE.items()}


def plan_of(case: Case) -> RunPlan:
    """Six steps, with a checkpoint and held-out losses each second one."""
    sections: dict[str, Any] = {
        "checkpoints": {"interval_steps": SAVED},
        "evaluation": {"interval_steps": SAVED},
        **case.plan,
        "algorithms": list(case.algorithms),
    }
    if case.digits:
        return images.plan_of(STEPS, batch=IMAGES, **sections)
    return elastic.plan_of([{"code": 6 * STEPS, "prose": 2 * STEPS}], SIZES, **sections)


def set_up(case: Case, folder: Path) -> RunPlan:
    """Write all that a case's attempts read: data, models to start from and to learn from, what teachers said."""
    plan = plan_of(case)
    if case.digits:
        (folder / "fed").mkdir(parents=True)
        (folder / "plan.json").write_text(plan.model_dump_json(by_alias=True))
        images.prepared(plan, folder)
        return plan
    elastic.write_plan(plan, SIZES, folder)
    for number, name in enumerate(("base", "thin", "teacher", "other")):
        if f'"folder":"{name}"' in plan.model_dump_json():
            model: Any = build_untrained(tiny(seed=90 + number, model={"init_std": 0.1}))
            if name == "thin":
                _thin(model)
            model.save_pretrained(folder / name)
    if any(spec.get("top_k") for spec in case.algorithms):
        _keep_logits(plan, folder)
    return plan


def _thin(model: Any) -> None:
    """The smaller half of each layer's weights gone."""
    for name, weight in model.named_parameters():
        if name.rpartition(".")[0].endswith("_proj"):
            weight.data[weight.data.abs() < weight.data.abs().median()] = 0.0


def _keep_logits(plan: RunPlan, folder: Path) -> None:
    layout = layout_of(plan, folder)
    found = elastic.prepared(plan, folder)
    for name in SIZES:
        inputs = {f"prepare-{name}": found[f"prepare-{name}"]}
        step = Step(id=f"logits-{name}", kind="logits", inputs=tuple(inputs), source=name, devices=1, seconds=1.0)
        place = layout.cache / step.id
        place.mkdir()
        values = logits.run(step, Context(plan, layout), inputs, place)
        place.with_suffix(".json").write_text(json.dumps(values))
