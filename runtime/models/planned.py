"""The model of a plan: a Hugging Face causal LM or a ResNet built from its dimensions, and how Composer trains it.

build_untrained(plan)          random weights, the same on every rank and machine
initial_model(plan, layout)    the model before its first step: random or trained weights, reshaped by the plan's techniques
load_trained(plan, layout)     the model after its last step; the average of its weights where the plan averages them
CausalLM(model, ...)         the same model as Composer sees it: batch -> logits -> loss
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from composer.metrics.nlp import LanguageCrossEntropy
from composer.models import ComposerModel
from torch import nn
from torch.nn import functional

from runtime import checkpoint
from runtime.algorithms import finish, prepare
from runtime.errors import DataError, RunFailed
from runtime.layout import Layout
from runtime.lineage import earlier, untrained
from runtime.models.classifier import build_resnet
from runtime.models.decoder import IGNORED, blocks, language_model_loss, model_config
from runtime.models.start import load_start
from runtime.status import rank
from schemas.plan import ModelPlan, ResNetPlan, RunPlan

if TYPE_CHECKING:
    from torchmetrics import Metric
    from transformers import PreTrainedModel

__all__ = [
    "CausalLM",
    "blocks",
    "build_untrained",
    "check_vocabulary",
    "flops_per_token",
    "initial_model",
    "language_model_loss",
    "load_trained",
    "model_config",
]


def build_untrained(plan: RunPlan, eos_token_id: int | None = None) -> nn.Module:
    """The model before training, in fp32 on the CPU; its weights are a function of the plan and its seed alone.

    Raises:
        RunFailed: it has another number of parameters than the plan (RC901); its attention needs a package (RC607).
    """
    if plan.is_classifier:
        return build_resnet(plan)
    from transformers import AutoModelForCausalLM

    config = model_config(plan.decoder, eos_token_id)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            model = AutoModelForCausalLM.from_config(config, attn_implementation=plan.decoder.attention)
    except ImportError as error:
        message = f"attention `{plan.decoder.attention}` can't be had: {str(error).split('. ')[0]}"
        raise RunFailed("RC607", message, "install its package, or set `model.attention: sdpa`") from error
    found = sum(parameter.numel() for parameter in model.parameters())
    if found != plan.model.num_parameters:
        raise RunFailed(
            "RC901",
            f"the plan has {plan.model.num_parameters:,} parameters, the {plan.model.family} model built has {found:,}",
            "compile the recipe again with this version; if it stays, please report it",
        )
    return cast("nn.Module", model)


def initial_model(
    plan: RunPlan, layout: Layout, eos_token_id: int | None = None, found: checkpoint.Checkpoint | None = None
) -> nn.Module:
    """The model before its first step: its start's weights or random ones, in the form in which the run trains them.

    Args:
        plan: with the runs before it, if it starts from one.
        layout: where these are found.
        eos_token_id: goes into the model's config.
        found: a checkpoint that training goes on from; the weights then matter no more, only what they lie in.

    Raises:
        RunFailed: the run that it starts from is not finished (RC606).
        DataError: the folder that it starts from can't be read, or has other dimensions (RC401, RC406).
    """
    if found is not None and not _keeps_start(plan):
        return _skeleton(plan, layout, found.state["state"]["model"], eos_token_id)
    if plan.start is None:
        model = build_untrained(plan, eos_token_id)
    elif plan.start.kind == "run":
        model = load_trained(*earlier(str(plan.start.run), plan, layout), eos_token_id)
    else:
        model = load_start(plan, layout, eos_token_id)
    prepare(plan, model)
    return model


def _keeps_start(plan: RunPlan) -> bool:
    """Whether the start's weights stay as they are beside what is trained, so that a checkpoint doesn't repeat them."""
    return any(spec.kind == "lora" for spec in plan.algorithms)


def _skeleton(
    plan: RunPlan, layout: Layout, weights: Mapping[str, torch.Tensor], eos_token_id: int | None
) -> nn.Module:
    """A model with the layers of `weights`, ready to load them. What it holds until then has no meaning."""
    if plan.start is not None and plan.start.kind == "run":
        before, place = earlier(str(plan.start.run), plan, layout)
        model = finish(before, _skeleton(before, place, weights, eos_token_id))
    else:
        model = build_untrained(plan, eos_token_id)
    prepare(plan, model, {name.removeprefix("model."): weight for name, weight in weights.items()})
    return model


def load_trained(plan: RunPlan, layout: Layout, eos_token_id: int | None = None) -> nn.Module:
    """The model with the weights of the run's newest checkpoint, on the CPU; with an EMA the averaged ones.

    Raises:
        RunFailed: there is no checkpoint of the last step that is whole (RC606).
        Refused: the checkpoint belongs to another plan (RC602).
    """
    # Each rank reads the weights that its training begins with; one of them may rename what is damaged.
    found = checkpoint.latest(layout.checkpoints, plan, set_aside=rank() == 0)
    if found is None:
        raise untrained(plan, layout)
    if found.progress.step != plan.training.steps:
        raise RunFailed(
            "RC606",
            f"the newest whole checkpoint in {layout.checkpoints} is of step {found.progress.step:,}, and training ended "
            f"at step {plan.training.steps:,}",
            "run the same command again: training goes on from there",
        )
    weights = checkpoint.final_weights(found)
    named = {name.removeprefix("model."): weight for name, weight in weights.items()}
    if _keeps_start(plan):
        model = initial_model(plan, layout, eos_token_id)
        if differing := sorted(named.keys() ^ checkpoint.trained_names(model)):
            message = f"the checkpoint and the model differ in {len(differing)} weights, such as {differing[0]}"
            raise RunFailed("RC603", message, "remove the run's folder to start anew")
        model.load_state_dict(named, strict=False)
    else:
        model = _skeleton(plan, layout, weights, eos_token_id)
        model.load_state_dict(named)
    return finish(plan, model)


def check_vocabulary(model: ModelPlan, tokenizer_vocab_size: int) -> None:
    """Refuse token ids that the embedding has no row for.

    Raises:
        DataError: the tokenizer has more tokens than the model has rows (RC406).
    """
    if tokenizer_vocab_size > model.vocab_size:
        raise DataError(
            "RC406",
            f"the tokenizer has {tokenizer_vocab_size:,} tokens, the model's embedding {model.vocab_size:,} rows",
            f"set `model.vocab_size: {-(-tokenizer_vocab_size // 64) * 64}` in the recipe, or leave it out",
        )


def flops_per_token(model: ModelPlan | ResNetPlan, sequence_length: int) -> int:
    """FLOPs of training on one token: 6 N + 12 L h s (PaLM, Chowdhery et al. 2022, appendix B); on an image 6 a multiply-add.

    6 N are the matrix products of forward and backward pass, 12 L h s those of attention over s positions. Recomputed
    activations don't count: MFU measures useful work.
    """
    if isinstance(model, ResNetPlan):
        return 6 * model.macs
    return 6 * model.num_parameters + 12 * model.num_layers * model.hidden_size * sequence_length


class CausalLM(ComposerModel):  # type: ignore[misc]  # composer has no types
    """A Hugging Face causal LM for Composer. A batch is {"input_ids": [batch, length] int64}; outputs are logits."""

    def __init__(self, model: PreTrainedModel, *, z_loss: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self._z_loss = z_loss

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits, [batch, length, vocabulary]."""
        return cast("torch.Tensor", self.model(input_ids=batch["input_ids"], use_cache=False).logits)

    def loss(self, outputs: torch.Tensor, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What is minimised; see `language_model_loss`."""
        return language_model_loss(outputs, batch["input_ids"], self._z_loss)

    def get_metrics(self, is_train: bool) -> dict[str, Metric]:
        """Held-out cross entropy; while training the loss itself is enough, and a metric would cost a sync a batch."""
        return {} if is_train else {"loss": LanguageCrossEntropy(ignore_index=IGNORED)}

    def update_metric(self, batch: dict[str, torch.Tensor], outputs: torch.Tensor, metric: Metric) -> None:
        """Add a held-out batch to its sum of losses."""
        targets = functional.pad(batch["input_ids"][:, 1:], (0, 1), value=IGNORED)
        metric.update(outputs.float(), targets)

    def eval_forward(self, batch: dict[str, torch.Tensor], outputs: Any = None) -> torch.Tensor:
        """Logits of a held-out batch."""
        return cast("torch.Tensor", outputs if outputs is not None else self(batch))
