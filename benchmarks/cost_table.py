"""MosaicML's table of training costs (2022) beside plans of the same models: on its hardware, and on today's.

`python -m benchmarks.cost_table` prints docs/cost-table.md; `--write` rewrites it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from compiler.pipeline import compile_recipe
from schemas.plan import RunPlan
from schemas.units import format_bytes, format_count, format_tokens, format_usd

__all__ = ["MODELS", "PAGE", "plan_of", "text"]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cost-table.md"


class Model(NamedTuple):
    """A line of "LLM Training Costs on MosaicML Cloud" (2022-09-29) and the model's shape in the YAMLs of that day."""

    name: str
    layers: int
    width: int
    heads: int
    tokens: int
    batch: int
    days: float
    usd: float


MODELS = (
    Model("GPT-1.3B", 24, 2048, 16, 26 * 10**9, 512, 0.14, 2e3),
    Model("GPT-2.7B", 32, 2560, 20, 54 * 10**9, 512, 0.48, 6e3),
    Model("GPT-6.7B", 32, 4096, 32, 134 * 10**9, 1024, 2.32, 3e4),
    Model("GPT-13B", 40, 5120, 40, 260 * 10**9, 1024, 7.43, 1e5),
    Model("GPT-30B", 48, 7168, 56, 610 * 10**9, 2048, 35.98, 4.5e5),
    Model("GPT-70B", 80, 8192, 64, 1400 * 10**9, 2048, 176.55, 2.5e6),
)
# The table's own machines and price, and what one would rent today (the catalogue's price, with its date).
THEN = "hardware={gpu: a100-sxm-40gb, count: 256, price: $2/gpu-hour, network: 200Gb/s}"
NOW = "hardware={gpu: h100-sxm-80gb, count: 256}"


def plan_of(model: Model, hardware: str) -> RunPlan:
    """The gallery's recipe with the table's shape, tokens and batch, on some hardware."""
    overrides = (
        f"name={model.name.lower()}",
        f"model={{family: gpt2, hidden_size: {model.width}, num_layers: {model.layers}, num_heads: {model.heads}}}",
        f"budget={{tokens: {model.tokens}}}",
        f"training.batch={model.batch * 2048}",
        hardware,
    )
    return compile_recipe(ROOT / "recipes" / "gpt-table-h100.yaml", overrides).expect()


def text() -> str:
    """The page."""
    then = [plan_of(model, THEN) for model in MODELS]
    now = [plan_of(model, NOW) for model in MODELS]
    price = now[0].hardware
    head = f"""# The cost table of 2022, planned again

"LLM Training Costs on MosaicML Cloud" (2022-09-29: 256 A100 of 40 GB, $2 per GPU-hour) beside plans of the same models, tokens
and batches: on the same machines with the software of today, and on 256 H100 at ${price.usd_per_gpu_hour:.2f}, the catalogue's
price ({price.price_source}). Made by `python -m benchmarks.cost_table --write` from `recipes/gpt-table-h100.yaml`.

| model | tokens | table: days | cost | A100 again: days | cost | MFU | H100: days | cost | MFU | memory | loss |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""
    rows = [_row(*row) for row in zip(MODELS, then, now, strict=True)]
    return head + "".join(rows) + _NOTES


def _row(model: Model, then: RunPlan, now: RunPlan) -> str:
    cells = [
        f"{model.name} ({format_count(now.model.num_parameters)})",
        format_tokens(model.tokens).removesuffix(" tok"),
        f"{model.days:g}",
        format_usd(model.usd),
        *_figures(then),
        *_figures(now),
        format_bytes(now.estimate.peak_memory_bytes),
        f"{now.promise.loss:.3f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def _figures(plan: RunPlan) -> tuple[str, str, str]:
    e = plan.estimate
    return (
        f"{e.hours / 24:.3g}",
        f"{format_usd(e.usd)} ({format_usd(e.usd_low)} to {format_usd(e.usd_high)})",
        f"{e.mfu:.0%}",
    )


_NOTES = """
The slide's dollars are days x 24 x 256 x $2, rounded up by 2 to 16 %; its days imply an MFU of 21 % for the smallest model, which
starves on 256 GPUs, to 45 % for the largest. The plans' days are wall-clock from the first command to the exported model:
start-up, data, evaluation, checkpoints and failures are in them, which the table leaves out. Names are nominal, the
parameters in brackets are counted; biases and learned positions of GPT-2 make them up to 1 % larger than the table's models.
The loss is that of the law `besiroglu`. Not reproducible: the table's exact price and variant of A100, which are inferred from
its rounding and from sister tables.
"""


def main() -> int:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"rewrite {PAGE.relative_to(ROOT)}")
    made = text()
    if not parser.parse_args().write:
        sys.stdout.write(made)
        return 0
    with tempfile.NamedTemporaryFile("w", dir=PAGE.parent, delete=False, encoding="utf-8") as handle:
        handle.write(made)
    Path(handle.name).replace(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
