"""The list of techniques, and the only place where one is registered: an import and a union member each."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.techniques.base import Algorithm, Technique, Window
from schemas.techniques.distillation import Distillation, DistillationAlgorithm
from schemas.techniques.ema import Ema, EmaAlgorithm
from schemas.techniques.gradient_clipping import GradientClipping, GradientClippingAlgorithm
from schemas.techniques.lora import Lora, LoraAlgorithm
from schemas.techniques.low_rank import LowRank, LowRankAlgorithm
from schemas.techniques.pruning import Pruning, PruningAlgorithm
from schemas.techniques.quantization import Quantization, QuantizationAlgorithm
from schemas.techniques.sequence_length_warmup import SequenceLengthWarmup, SequenceLengthWarmupAlgorithm

__all__ = ["TECHNIQUES", "Algorithm", "AnyAlgorithm", "Technique", "Window"]

AnyAlgorithm = Annotated[
    SequenceLengthWarmupAlgorithm
    | LowRankAlgorithm
    | LoraAlgorithm
    | DistillationAlgorithm
    | PruningAlgorithm
    | QuantizationAlgorithm
    | GradientClippingAlgorithm
    | EmaAlgorithm,
    Field(discriminator="kind"),
]
"""What may stand in `plan.algorithms`."""

TECHNIQUES: dict[str, tuple[type[Technique], str]] = {
    "sequence_length_warmup": (SequenceLengthWarmup, "data.curriculum"),
    "low_rank": (LowRank, "compression"),
    "lora": (Lora, "training.adapter"),
    "distillation": (Distillation, "distillation"),
    "pruning": (Pruning, "compression"),
    "quantization": (Quantization, "compression"),
    "gradient_clipping": (GradientClipping, "training.gradient_clipping"),
    "ema": (Ema, "averaging"),
}
"""Kind -> (knobs, where in the recipe it stands). The order is the one in which fragments are merged and algorithms run."""
