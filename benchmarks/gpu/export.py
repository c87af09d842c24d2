"""A whole run up to its export: its integers on the device, and its files loaded there, say what the CPU says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from runtime.__main__ import main as run_plan
from runtime.compression.rounded_layers import rounded_layers
from runtime.compression.shipping import load_shipped
from runtime.layout import Layout
from runtime.models.forward import logits_of
from runtime.models.frozen import load_frozen
from schemas.plan import RunPlan

__all__ = ["exported"]


def exported(plan: RunPlan, job: Path, work: Path, device: str) -> dict[str, Any]:
    """Train, compress and export; then compare logits of the shipped model on the CPU with its own on the device, in integers
    and scales as it is, and as its exported files are loaded.

    Raises:
        RuntimeError: the run failed.
    """
    code = run_plan([str(job), "--runs", str(work / "runs"), "--root", str(work)])
    if code != 0:
        raise RuntimeError(f"the run ended with exit code {code}")
    layout = Layout.of(plan, roots=(work,), runs=work / "runs")
    shipped, loaded = load_shipped(plan, layout).eval(), load_frozen(layout.export, "the export")
    layers = len(rounded_layers(shipped))
    generator = torch.Generator().manual_seed(plan.seed)
    tokens = torch.randint(plan.decoder.vocab_size, (2, min(256, plan.data.sequence_length)), generator=generator)
    here = _logits(shipped, tokens, "cpu")
    differences = [float((_logits(model, tokens, device) - here).abs().max()) for model in (shipped, loaded)]
    trained, small = (_values(plan, layout, kind) for kind in ("train", "compress"))
    return {
        "steps": trained["steps"],
        "initial_loss": trained["initial_loss"],
        "loss": trained["loss"],
        "rounded_layers": layers,
        "largest_difference": differences[0],
        "largest_difference_of_files": differences[1],
        "largest_logit": float(here.abs().max()),
        "bytes": small["bytes"],
        "shipped_tokens_per_s": small["tokens_per_s"],
    }


def _values(plan: RunPlan, layout: Layout, kind: str) -> dict[str, Any]:
    step = next(step.id for step in plan.steps if step.kind == kind)
    found: dict[str, Any] = json.loads(layout.step_result(step).read_text(encoding="utf-8"))["values"]
    return found


@torch.no_grad()
def _logits(model: nn.Module, tokens: torch.Tensor, device: str) -> torch.Tensor:
    """In fp32, on the CPU, wherever they were computed."""
    return logits_of(nn.Module.to(model, device), {"input_ids": tokens.to(device)}).float().cpu()
