"""A llama with half of its channels and heads pruned: zeros in place beside removed ones, sizes and seconds of a forward pass."""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch
from torch import nn

from runtime.algorithms.pruning import masks_of
from runtime.compression.sparsity.removal import remove_dead
from schemas.techniques import Window
from schemas.techniques.pruning import PruningAlgorithm

ROUNDS = 7
LENGTH = 128


def model_of(hidden: int, layers: int) -> nn.Module:
    """A llama with random weights; what they are doesn't change the time."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    shape = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers, "vocab_size": 1024}
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 64, "head_dim": 64}
    model: nn.Module = AutoModelForCausalLM.from_config(LlamaConfig(**shape, **heads, tie_word_embeddings=True))
    return model.eval()


def zeroed(model: nn.Module, sparsity: float) -> nn.Module:
    """The model with a share of its channels and heads set to zero."""
    spec = PruningAlgorithm(
        window=Window(start_token=0, end_token=0),
        method="structured",
        sparsity=sparsity,
        initial=0.0,
        schedule="oneshot",
        scope="layer",
        norm="l1",
        targets="all",
        exclude=(),
        interval_steps=1,
    )
    with torch.no_grad():
        for name, mask in masks_of(spec, dict(model.named_modules()), sparsity).items():
            model.get_parameter(name).mul_(mask)
    return model


@torch.no_grad()
def seconds(models: dict[str, nn.Module], tokens: torch.Tensor) -> dict[str, float]:
    """Median of rounds in which the models take turns, so that what slows the machine down meets all alike."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS + 1):
        for name, model in models.items():
            begin = time.perf_counter()
            model(input_ids=tokens, use_cache=False)
            taken[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--sparsity", type=float, default=0.5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    models = {"whole": model_of(asked.hidden, asked.layers)}
    models["zeros"] = zeroed(model_of(asked.hidden, asked.layers), asked.sparsity)
    models["removed"] = remove_dead(zeroed(model_of(asked.hidden, asked.layers), asked.sparsity))
    tokens = torch.randint(0, 1024, (4, LENGTH), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = [models[name](input_ids=tokens, use_cache=False).logits for name in ("zeros", "removed")]
    times = seconds(models, tokens)
    sys.stdout.write(f"{'model':8}  {'parameters':>11}  {'ms a pass':>9}  {'ratio':>5}\n")
    for name, model in models.items():
        count = sum(parameter.numel() for parameter in model.parameters())
        ratio = times[name] / times["whole"]
        sys.stdout.write(f"{name:8}  {count:11,}  {times[name] * 1e3:9.1f}  {ratio:5.2f}\n")
    sys.stdout.write(
        f"logits of zeros and removed differ by {float((outputs[0] - outputs[1]).abs().max()):.1e} at most\n"
    )


if __name__ == "__main__":
    main()
