"""The sizes of the checks: what a GPU is given, and the same in tiny for a CPU, which walks the same code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from compiler.pipeline import compile_recipe

__all__ = ["DEVICES", "Device", "Scale", "gallery_shape"]

_ROOT: Final = Path(__file__).parent.parent.parent

Device = Literal["cpu", "cuda"]
Dimensions = dict[str, Any]
"""Keys of a recipe's `model`."""


@dataclass(frozen=True)
class Scale:
    """What all checks on a device share.

    Args:
        device: torch's name of it.
        gpu: its name in the catalogue.
        steps: optimizer steps of a check, of which a third warms up.
        length: tokens of a sample.
        batch, large_batch, small_batch: tokens of a step of the middle-sized model, the gallery's and the small one.
        middle, small: dimensions of the models.
        tokenizer: keys of `tokenizer`.
        resnet: keys of `model` and of `data.image`, and images of a step.
        threads: of the CPU; None leaves torch its own choice.
        patience: by how much longer a check may take than on the GPU that its limit was set for.
    """

    device: Device
    gpu: str
    steps: int
    length: int
    batch: int
    large_batch: int
    small_batch: int
    middle: Dimensions
    small: Dimensions
    tokenizer: Dimensions
    resnet: tuple[Dimensions, Dimensions, int]
    threads: int | None
    patience: float

    @property
    def on_gpu(self) -> bool:
        """Whether formats, sharding and memory are those of a GPU."""
        return self.device == "cuda"

    def large(self) -> Dimensions:
        """The gallery's model of about a billion parameters; on a CPU the middle-sized one stands in for it."""
        return gallery_shape() if self.on_gpu else self.middle


def gallery_shape() -> Dimensions:
    """Dimensions of `recipes/llama-1b-h100.yaml`, as its plan has them."""
    plan = compile_recipe(_ROOT / "recipes" / "llama-1b-h100.yaml").expect()
    model = plan.decoder
    keys = ("family", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "intermediate_size", "vocab_size",
            "tie_embeddings")  # fmt: skip
    return {key: getattr(model, key) for key in keys}


DEVICES: Final[dict[Device, Scale]] = {
    "cuda": Scale(
        device="cuda",
        gpu="h200-sxm-141gb",
        steps=24,
        length=2048,
        batch=65_536,
        large_batch=65_536,
        small_batch=32_768,
        # 162M parameters: GPT-2's width and depth, and an output layer of its own.
        middle={"family": "llama", "hidden_size": 768, "num_layers": 12, "num_heads": 12, "intermediate_size": 2048,
                "vocab_size": 50_304, "tie_embeddings": False},
        small={"family": "llama", "hidden_size": 512, "num_layers": 8, "num_heads": 8},
        tokenizer={"vocab_size": 8192, "max_bytes": "4MB"},
        # scikit-learn's digits, enlarged: 1,797 images, so that their pixels are real and their size is that of a photograph.
        resnet=({"family": "resnet", "depth": 50}, {"size": 128, "channels": 3}, 256),
        threads=None,
        patience=1.0,
    ),
    "cpu": Scale(
        device="cpu",
        gpu="cpu",
        steps=6,
        length=64,
        batch=512,
        large_batch=512,
        small_batch=512,
        middle={"family": "llama", "hidden_size": 64, "num_layers": 2, "num_heads": 4, "intermediate_size": 192},
        small={"family": "llama", "hidden_size": 64, "num_layers": 2, "num_heads": 4},
        tokenizer={"vocab_size": 1024, "max_bytes": "1MB"},
        resnet=({"family": "resnet", "depth": 8}, {"size": 8, "channels": 1}, 64),
        threads=1,
        patience=5.0,
    ),
}  # fmt: skip
"""By torch's name of the device."""
