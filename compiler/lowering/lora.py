"""Low-rank adapters: which layers of the family get them, and what frozen weights save."""

from __future__ import annotations

from typing import Final

from compiler.draft import Draft
from compiler.frontend.suggest import closest
from compiler.lowering.base import starts, whole_run
from schemas.fragment import Claim, Fragment, Requirement
from schemas.plan import ModelPlan
from schemas.techniques import Technique
from schemas.techniques.lora import Lora, LoraAlgorithm

__all__ = ["adapter_parameters", "layer_shapes", "lower"]

_ATTENTION: Final = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "attn.c_attn", "attn.c_proj"})
_CLAIMS: Final = (Claim(slot="model.weights"), Claim(slot="model.trainable"))
_NF4_BYTES: Final = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight in nf4: 4 bits, a scale of 1 byte per 64 weights, and one of 4 per 256 scales (Dettmers et al. 2023)."""
_LONG: Final = 1_000_000_000
"""Tokens from which on adapters fell behind at every rank (Biderman et al. 2024, figure 1)."""
_LR: Final = (1e-5, 5e-4)
"""Rates worth a sweep (Biderman et al. 2024, section 4.7)."""


def layer_shapes(model: ModelPlan) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the linear layers of one block, by the names that end their paths."""
    h, f = model.hidden_size, model.intermediate_size
    if model.family == "gpt2":
        return {"attn.c_attn": (h, 3 * h), "attn.c_proj": (h, h), "mlp.c_fc": (h, f), "mlp.c_proj": (f, h)}
    kv = h // model.num_heads * model.num_kv_heads
    attention = {"q_proj": (h, h), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (h, h)}
    return attention | {"gate_proj": (h, f), "up_proj": (h, f), "down_proj": (f, h)}


def adapter_parameters(model: ModelPlan, targets: tuple[str, ...], rank: int) -> int:
    """Weights of A (rank x inputs) and B (outputs x rank) over all blocks: r (d_in + d_out) a matrix (Hu et al. 2021)."""
    shapes = layer_shapes(model)
    return model.num_layers * rank * sum(sum(shapes[name]) for name in targets)


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Claims the weights: nothing else may reshape or remove what adapters are added to."""
    assert isinstance(technique, Lora)
    if draft.is_classifier:
        need = Requirement(
            holds=False,
            key="targets",
            message="adapters stand beside linear layers of transformer blocks, and a resnet has convolutions",
            help="delete `adapter`: all weights are then trained",
        )
        return Fragment(claims=_CLAIMS, requires=(need,), reason="")
    model, rank = draft.decoder, technique.rank
    known = layer_shapes(model)
    targets = tuple(name for name in _targets(technique, known) if name in known)
    alpha = 2.0 * rank if technique.alpha is None else technique.alpha
    trained = adapter_parameters(model, targets, rank)
    return Fragment(
        claims=_CLAIMS,
        algorithms=(
            LoraAlgorithm(
                window=whole_run(draft),
                rank=rank,
                alpha=alpha,
                dropout=technique.dropout,
                targets=targets,
                rank_stabilized=technique.rank_stabilized,
                base=technique.base,
            ),
        ),
        requires=_requirements(technique, draft, known),
        lints=_lints(technique, draft, alpha),
        # No gradients of frozen weights: 2 of their 6 N; the adapters cost all 6 of theirs.
        flops_per_token=6.0 * trained - 2.0 * model.num_parameters,
        memory_parameters=trained,
        trainable_parameters=trained,
        frozen_bytes=_frozen_bytes(technique, draft),
        # FSDP splits flat buffers of one format: not weights packed in bytes, nor fp32 adapters beside bf16 weights.
        whole_weights=technique.base == "nf4" or draft.precision.param == "bf16",
        reason=f"{trained:,} weights are trained, {trained / model.num_parameters:.3%} of the model's; "
        f"update x {alpha:g}/{'sqrt ' if technique.rank_stabilized else ''}{rank}",
    )


def _targets(technique: Lora, known: dict[str, tuple[int, int]]) -> tuple[str, ...]:
    """Names of layers: of a group, in the family's order, or as the recipe says them."""
    if isinstance(technique.targets, tuple):
        return technique.targets
    wanted = {"all": (True, False), "attention": (True,), "mlp": (False,)}[technique.targets]
    return tuple(name for name in known if (name in _ATTENTION) in wanted)


def _frozen_bytes(technique: Lora, draft: Draft) -> float | None:
    """Bytes of a frozen weight, averaged: in nf4 embeddings, norms and output layer stay as they are kept."""
    kept = 2.0 if draft.precision.param == "bf16" else 4.0
    if technique.base == "full":
        return None if kept == 4.0 else kept
    model = draft.decoder
    blocks = model.num_layers * sum(inputs * outputs for inputs, outputs in layer_shapes(model).values())
    return (blocks * _NF4_BYTES + (model.num_parameters - blocks) * kept) / model.num_parameters


def _requirements(technique: Lora, draft: Draft, known: dict[str, tuple[int, int]]) -> tuple[Requirement, ...]:
    unknown = tuple(name for name in _targets(technique, known) if name not in known)
    guess = closest(unknown[0], known) if unknown else None
    family = draft.decoder.family
    return (
        Requirement(
            holds=starts(draft),
            key="kind",
            message="adapters beside random weights learn next to nothing: the weights under them never change",
            help="model: {start: models/base}   # or {start: {run: previous}}, or delete `adapter`",
        ),
        Requirement(
            holds=not unknown,
            key="targets",
            message=f"`{unknown[0] if unknown else ''}` is no linear layer of {family}'s blocks"
            + (f"; did you mean `{guess}`?" if guess else ""),
            help=f"targets: [{', '.join(known)}]",
        ),
        Requirement(
            holds=technique.base != "nf4" or family == "llama",
            key="base",
            message=f"bitsandbytes rounds Linear layers, and {family}'s are Conv1D",
            help="base: full",
        ),
    )


def _lints(technique: Lora, draft: Draft, alpha: float) -> tuple[Requirement, ...]:
    """Advice of Biderman et al. 2024 (arXiv 2405.09673), who swept adapters against full fine-tuning."""
    lr, sgd = draft.recipe.training.optimizer.lr, draft.recipe.training.optimizer.kind == "sgd"
    tokens = draft.batch.total_tokens
    return (
        Requirement(
            holds=alpha == 2 * technique.rank or technique.rank_stabilized,
            key="alpha",
            message=f"alpha is {alpha:g}, and {2 * technique.rank} (twice the rank) was best at every rank",
            help=f"alpha: {2 * technique.rank}",
        ),
        Requirement(
            holds=technique.targets != "attention",
            key="targets",
            message="adapters of attention alone learn least: the MLP's carry most of the gain",
            help="targets: all",
        ),
        Requirement(
            holds=tokens <= _LONG,
            key="kind",
            message=f"over {tokens / 1e9:.3g}B tokens adapters learn less than full fine-tuning at every rank that was tried",
            help="delete `adapter`: the recipe then trains all weights",
        ),
        Requirement(
            holds=lr is None or sgd or _LR[0] <= lr <= _LR[1],
            key="kind",
            message=f"a learning rate of {lr} is outside of 1e-5 to 5e-4, where adapters' best rates were",
            help="optimizer: {}   # the plan then takes 10 times that of full fine-tuning",
        ),
    )
