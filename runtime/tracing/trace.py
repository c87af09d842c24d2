"""`python -m runtime.tracing.trace PLAN`: memory of a training step of the plan's model on fake tensors: no GPU, no data.

The model of the plan is built at two shallow depths under FakeTensorMode, where tensors have shapes but no contents, and
optimizer steps are run on it. Every storage is counted from birth to death, so what autograd keeps is seen, not reckoned.
Bytes are linear in depth at each instant of a step, so two depths give any. `recipec plan --trace` puts the result beside
the closed form (compiler/estimate/). Sharded weights are traced as a block sees them, gathered in the compute format; what
devices share, techniques add and libraries reserve is not traced.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from runtime import compat
from runtime.errors import RunError
from runtime.load import load_plan
from runtime.models.decoder import blocks, language_model_loss, model_config
from runtime.optim import build_optimizer
from runtime.status import show_error
from runtime.tracing.fake_gpu import FakeGpu
from runtime.tracing.storages import Storages
from schemas.plan import OptimizerPlan, RunPlan

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["DEPTHS", "main", "trace"]

DEPTHS: Final = (2, 4)
"""Depths that are traced; a model that isn't deeper than the second is traced as it is."""

Parts = dict[str, float]
"""Bytes by part: parameters, gradients, optimizer, activations, loss."""


class _Step:
    """One optimizer step on a model, watched: the fullest moment of each of its instants, by part."""

    def __init__(self, plan: RunPlan, layers: int) -> None:
        self.model = _build(plan, layers)
        self.sharded = plan.parallelism.strategy == "fsdp"
        self.plan = plan
        self.optimizer = _optimizer(self.model, plan.training.optimizer)
        weights = list(self.model.parameters())
        self.storages = Storages([*weights, *self.model.buffers()])
        self.weight_bytes = sum(weight.numel() * weight.element_size() for weight in weights)
        self.reached: set[torch.Tensor] = set()
        self.state_bytes = self.output_bytes = self.saved_bytes = 0
        # The gradient of a tied output layer is there from the start, and waits for its other half: the embedding's.
        head = self.model.get_output_embeddings().weight
        waits = plan.decoder.tie_embeddings and not self.sharded
        self.waiting_bytes = head.numel() * head.element_size() if waits else 0
        self.instants: dict[str, Parts] = {}
        self.watched = False
        for weight in weights:
            weight.register_post_accumulate_grad_hook(self._accumulated)
        self._mark_blocks()

    def _accumulated(self, weight: torch.Tensor) -> None:
        if self.sharded:  # reduced and scattered as soon as it is there
            weight.grad = None
        elif weight not in self.reached:
            self.reached.add(weight)
            self.storages.gradients += weight.numel() * weight.element_size()

    def _mark_blocks(self) -> None:
        """Each instant of the backward pass ends where the gradient of a block's input is known."""
        body = blocks(self.model)
        for number, block in enumerate(body):
            name = "last block" if number == len(body) - 1 else "first block" if number == 0 else ""
            block.register_forward_pre_hook(self._watch_input(name), with_kwargs=True)
        body[-1].register_forward_hook(self._watch_output)

    def _watch_input(self, name: str) -> Any:
        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            if self.watched and "forward" not in self.instants:  # not when a block is recomputed
                hidden.register_hook(lambda _: self._end(name))

        return hook

    def _watch_output(self, _: Any, __: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if self.watched and "forward" not in self.instants:
            hidden.register_hook(lambda _: self._end("head"))

    def _end(self, name: str) -> None:
        """An instant is over: keep its peak by part, and begin the next."""
        if self.watched and name:
            gradients = self.storages.gradients_at_peak
            if name in ("last block", "first block", "embedding"):
                gradients += self.waiting_bytes
            rest = float(self.storages.peak - gradients - self.state_bytes)
            loss = rest - self.saved_bytes if name in ("loss", "head") else float(self.output_bytes)
            if name in ("forward", "optimizer"):
                loss = 0.0
            self.instants[name] = {
                "parameters": float(self.weight_bytes),
                "gradients": float(gradients),
                "optimizer": float(self.state_bytes),
                "activations": rest - loss,
                "loss": loss,
            }
        self.storages.peak, self.storages.gradients_at_peak = self.storages.live, self.storages.gradients

    def microbatch(self, *, watched: bool) -> None:
        """Forward, loss and backward pass."""
        self.watched = watched
        plan = self.plan
        tokens = torch.zeros(plan.training.microbatch, plan.data.sequence_length, dtype=torch.int64)
        self._end("")
        with _compute(plan):
            self.outputs = self.model(input_ids=tokens, use_cache=False).logits
        self.output_bytes = self.outputs.numel() * self.outputs.element_size()
        self.saved_bytes = self.storages.live - self.storages.gradients - self.state_bytes - self.output_bytes
        self._end("forward")
        self.outputs.register_hook(lambda _: self._end("loss"))
        with _compute(plan):
            parts = language_model_loss(self.outputs, tokens, plan.objective.z_loss)
            loss = _with_teacher(plan, self.outputs, parts)["total"]
        torch.autograd.backward(loss)
        self._end("embedding")

    def step(self, *, watched: bool) -> None:
        """The optimizer's update."""
        self.watched = watched
        self._end("")
        self.optimizer.step()
        self._end("optimizer")
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        self.state_bytes = sum(s.numel() * s.element_size() for s in states if isinstance(s, torch.Tensor))
        self.optimizer.zero_grad(set_to_none=True)
        self.reached.clear()
        self.storages.gradients = 0


def _build(plan: RunPlan, layers: int) -> PreTrainedModel:
    """The plan's model at another depth; attention kernels of other packages keep what sdpa's keep."""
    from transformers import AutoModelForCausalLM

    kind = "eager" if plan.decoder.attention == "eager" else "sdpa"
    config = model_config(plan.decoder.model_copy(update={"num_layers": layers}))
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation=kind).train()
    compat.attend_without_masks(model)
    if plan.parallelism.activation_checkpointing:
        # The backward pass may run outside of all modes, so a recomputed block brings its own.
        settings = {"use_reentrant": False, "context_fn": lambda: (contextlib.nullcontext(), _fake_gpu(plan))}
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)
    if plan.parallelism.strategy == "fsdp" and plan.precision.compute != "fp32":
        for weight in model.parameters():
            weight.data = weight.data.to(torch.bfloat16)
    return model


def _optimizer(model: PreTrainedModel, plan: OptimizerPlan) -> torch.optim.Optimizer:
    """The plan's optimizer. Composer's AdamW reads values; torch's has the same two states, one weight at a time as well."""
    if plan.kind == "decoupled_adamw":
        return torch.optim.AdamW(model.parameters(), lr=plan.lr, foreach=False)
    return build_optimizer(model, plan)


def _with_teacher(plan: RunPlan, outputs: torch.Tensor, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The loss with the divergence from a teacher's logits, where the plan distils."""
    spec = next((algorithm for algorithm in plan.algorithms if algorithm.kind == "distillation"), None)
    if spec is None:
        return parts
    from runtime.algorithms.distillation import distilled
    from runtime.teaching.divergence import TopK, divergence, top_k_divergence

    if spec.top_k is None:
        values = divergence(spec.loss, outputs, torch.empty_like(outputs, requires_grad=False), spec.temperature)
    else:
        shape = (*outputs.shape[:-1], spec.top_k)
        kept = TopK(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape), torch.zeros(shape[:-1]))
        values = top_k_divergence(spec.loss, outputs, kept, spec.temperature)
    term = values.mean()
    return distilled(parts, term, spec.weight)


def _fake_gpu(plan: RunPlan) -> contextlib.AbstractContextManager[Any]:
    """The GPU's behaviour where the plan is for one. fp16 takes the bytes of bf16, and fp8 keeps bf16 activations."""
    low = None if plan.precision.compute == "fp32" else torch.bfloat16
    return contextlib.nullcontext() if plan.hardware.gpu == "cpu" else FakeGpu(low)


@contextlib.contextmanager
def _compute(plan: RunPlan) -> Iterator[None]:
    with _fake_gpu(plan), torch.autocast("cpu", torch.bfloat16, enabled=plan.precision.compute != "fp32"):
        yield


def _instants(plan: RunPlan, layers: int) -> dict[str, Parts]:
    """Bytes at each instant of a step of the model with `layers` blocks, once the optimizer has its states."""
    with FakeTensorMode():
        step = _Step(plan, layers)
        accumulates = plan.training.global_batch_samples > plan.training.microbatch * plan.parallelism.devices
        with step.storages:
            step.microbatch(watched=False)
            if not step.sharded:
                step.step(watched=False)
            if accumulates:
                step.microbatch(watched=False)
            step.microbatch(watched=True)
            if not step.sharded:
                step.step(watched=True)
        return step.instants


def trace(plan: RunPlan) -> dict[str, Any]:
    """Memory of one device in a step of a plan.

    Returns:
        `instants`: bytes by part at the fullest moment of each instant; `instant`, `parts`, `peak_bytes` of the fullest;
        `layers` of the plan and the `depths` that were traced.
    """
    layers = plan.decoder.num_layers
    depths = DEPTHS if layers > DEPTHS[1] else (layers,)
    found = [_instants(plan, depth) for depth in depths]
    instants = {
        name: {part: _line(depths, [f[name][part] for f in found], layers) for part in found[0][name]}
        for name in found[0]
    }
    fullest = max(instants, key=lambda name: sum(instants[name].values()))
    return {
        "layers": layers,
        "depths": list(depths),
        "sharded": plan.parallelism.strategy == "fsdp",
        "instant": fullest,
        "parts": instants[fullest],
        "peak_bytes": sum(instants[fullest].values()),
        "instants": instants,
    }


def _line(depths: Sequence[int], values: Sequence[float], at: int) -> float:
    """The value at a depth, on the line through those that were traced."""
    if len(depths) == 1:
        return values[0]
    slope = (values[1] - values[0]) / (depths[1] - depths[0])
    return values[0] + slope * (at - depths[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Trace a plan file and print the result as JSON."""
    parser = argparse.ArgumentParser(
        prog="runtime.tracing.trace", description="Trace the memory of a plan's training step."
    )
    parser.add_argument("plan", type=Path, help="plan.yaml of a job folder")
    options = parser.parse_args(arguments)
    try:
        found = trace(load_plan(options.plan))
    except RunError as error:
        show_error(error)
        return error.exit_code
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
