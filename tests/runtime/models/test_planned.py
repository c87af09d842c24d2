"""The model of a plan: its dimensions, its seed, its loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from compiler.estimate.architecture import Dimensions, count_parameters, solve
from runtime import compat
from runtime.errors import DataError, RunFailed
from runtime.models.planned import (
    CausalLM,
    blocks,
    build_untrained,
    check_vocabulary,
    flops_per_token,
    language_model_loss,
)
from tests.runtime.training_case import plan_of

# 512 x 32 embedding, 64 x 32 positions, a block with biases of width 32 and 64, and the final norm.
GPT2 = {"family": "gpt2", "num_parameters": 27_040, "dropout": 0.1}


@pytest.mark.parametrize("model", [{}, GPT2])
def test_model_has_the_planned_parameters_and_dimensions(model: dict[str, Any]) -> None:
    """Both families are built with the plan's shape and give logits over the plan's vocabulary."""
    plan = plan_of(model=model)
    built: Any = build_untrained(plan, eos_token_id=3)
    assert sum(p.numel() for p in built.parameters()) == plan.model.num_parameters
    assert len(blocks(built)) == plan.decoder.num_layers
    assert built(input_ids=torch.zeros(2, 64, dtype=torch.long)).logits.shape == (2, 64, 512)
    assert built.config.eos_token_id == 3
    assert built.dtype == torch.float32


# Published shapes, the solver's own for a size, and small ones with every difference that changes a count.
SHAPES = [
    Dimensions("llama", 128_256, 4096, 32, 32, 8, 14_336, 8192, tied=False),
    Dimensions("llama", 128_256, 2048, 16, 32, 8, 8192, 8192, tied=True),
    Dimensions("gpt2", 50_304, 1600, 48, 25, 25, 6400, 1024, tied=True),
    Dimensions("gpt2", 512, 64, 2, 4, 4, 96, 128, tied=False),
    Dimensions("llama", 512, 64, 2, 4, 1, 96, 128, tied=False),
    solve(70e9, Dimensions("llama", 32_768, 0, 0, 0, 0, 0, 4096, tied=True)),
    solve(13e9, Dimensions("gpt2", 50_304, 0, 0, 0, 0, 0, 2048, tied=False)),
]


@pytest.mark.parametrize("d", SHAPES, ids=lambda d: f"{d.family}-{d.hidden}x{d.layers}-kv{d.kv_heads}-tied{d.tied}")
def test_the_compilers_count_is_the_built_models(d: Dimensions) -> None:
    """Grouped key-value heads, untied output layers, both families, up to 70B: counted on the meta device, exactly."""
    plan = plan_of(
        model={
            "family": d.family, "vocab_size": d.vocabulary, "hidden_size": d.hidden, "num_layers": d.layers,
            "num_heads": d.heads, "num_kv_heads": d.kv_heads, "intermediate_size": d.intermediate,
            "max_sequence_length": d.positions, "tie_embeddings": d.tied, "num_parameters": count_parameters(d),
        }
    )  # fmt: skip
    with torch.device("meta"):
        built = build_untrained(plan)  # refuses another count
    assert sum(p.numel() for p in built.parameters()) == count_parameters(d)


def test_rotary_base_norms_and_heads_reach_the_model() -> None:
    """Numbers that have defaults in the library are the plan's, in whatever version they are stored."""
    model = {"num_kv_heads": 1, "rope_theta": 5000.0, "norm_eps": 1e-3, "tie_embeddings": False}
    plan = plan_of(model={**model, "num_parameters": 26_720 - 2 * 32 * 16 + 512 * 32})
    built: Any = build_untrained(plan)
    frequencies = built.model.rotary_emb.inv_freq
    assert frequencies.tolist() == pytest.approx([5000.0 ** -(2 * i / 16) for i in range(8)])
    assert built.model.norm.variance_epsilon == 1e-3
    assert built.get_output_embeddings().weight is not built.get_input_embeddings().weight


@pytest.mark.parametrize("model", [{}, GPT2])
def test_training_attends_causally_without_a_mask(model: dict[str, Any]) -> None:
    """The faster kernels give the same logits, and no position sees what comes after it."""
    built = build_untrained(plan_of(model=model)).eval()
    tokens = torch.arange(128).view(2, 64)
    with torch.no_grad():
        expected = built(input_ids=tokens, use_cache=False).logits
        compat.attend_without_masks(built)
        logits = built(input_ids=tokens, use_cache=False).logits
        changed = built(input_ids=tokens.clone().index_fill_(1, torch.tensor([40]), 7), use_cache=False).logits
    assert torch.allclose(logits, expected, atol=1e-6)
    assert torch.equal(changed[:, :40], logits[:, :40])
    assert not torch.allclose(changed[:, 40:], logits[:, 40:])


def test_a_wrong_count_is_a_fault_with_both_numbers() -> None:
    """A plan whose count differs from the built model's is refused before anything is trained."""
    with pytest.raises(RunFailed, match=r"27,000 parameters.* has 26,720"):
        build_untrained(plan_of(model={"num_parameters": 27_000}))


def test_weights_depend_on_the_seed_alone() -> None:
    """Same plan, same weights, whatever was drawn before; building leaves the random state as it was."""
    torch.manual_seed(1)
    first = build_untrained(plan_of()).state_dict()
    before = torch.get_rng_state()
    torch.rand(7)
    second = build_untrained(plan_of()).state_dict()
    other = build_untrained(plan_of(seed=18)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    torch.set_rng_state(before)
    build_untrained(plan_of())
    assert torch.equal(torch.get_rng_state(), before)


def test_loss_is_the_next_token_cross_entropy() -> None:
    """Equal to cross entropy of positions 0..n-2 against tokens 1..n-1, and to what the metric sums."""
    torch.manual_seed(0)
    logits, tokens = torch.randn(3, 9, 11), torch.randint(0, 11, (3, 9))
    expected = functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert language_model_loss(logits, tokens, 0.0)["total"].item() == pytest.approx(expected.item())
    module = CausalLM(build_untrained(plan_of()))
    metric = module.get_metrics(is_train=False)["loss"]
    module.update_metric({"input_ids": tokens}, logits, metric)
    assert metric.compute().item() == pytest.approx(expected.item())


def test_z_loss_adds_the_squared_log_partition() -> None:
    """Logits that are all c have log Z = c + log V; only predicting positions count; gradients pull c to -log V."""
    logits = torch.full((2, 5, 7), 3.0, requires_grad=True)
    tokens = torch.zeros(2, 5, dtype=torch.long)
    loss = language_model_loss(logits, tokens, 0.1)
    assert loss["cross_entropy"].item() == pytest.approx(math.log(7))
    assert loss["total"].item() == pytest.approx(math.log(7) + 0.1 * (3 + math.log(7)) ** 2)
    loss["total"].backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[:, :-1].sum() > 0
    assert logits.grad[:, -1].abs().sum() == 0


@pytest.mark.parametrize(("z_loss", "spread"), [(0.0, 1.0), (1e-4, 30.0), (0.1, 10.0), (1.0, 1.0)])
def test_loss_and_gradients_are_those_of_the_formula(z_loss: float, spread: float) -> None:
    """Against the derivative written out in float64: (p - onehot)/n + 2 z log(Z) p/n, and nothing at the last position."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(3, 6, 50, generator=generator) * spread).requires_grad_()
    tokens = torch.randint(0, 50, (3, 6), generator=generator)
    total = language_model_loss(logits, tokens, z_loss)["total"]
    total.backward()  # type: ignore[no-untyped-call]
    exact = logits.detach().double()[:, :-1]
    top = exact.amax(-1, keepdim=True)
    log_z = top + (exact - top).exp().sum(-1, keepdim=True).log()
    p, onehot = (exact - log_z).exp(), functional.one_hot(tokens[:, 1:], 50).double()
    expected = (log_z - (exact * onehot).sum(-1, keepdim=True) + z_loss * log_z.square()).mean()
    gradient = functional.pad((p - onehot + 2 * z_loss * log_z * p) / 15, (0, 0, 0, 1))
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.double(), gradient, rtol=1e-5, atol=1e-7)


def test_what_stands_last_cannot_spoil_the_z_loss() -> None:
    """The last position predicts nothing: logits whose square overflows there leave the loss as it is."""
    logits = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0))
    tokens = torch.zeros(1, 4, dtype=torch.long)
    before = language_model_loss(logits, tokens, 1e-3)["total"]
    logits[:, -1] = 1e30
    assert language_model_loss(logits, tokens, 1e-3)["total"] == before


def test_a_larger_tokenizer_is_refused() -> None:
    """Ids without a row are found before training, with the line to write."""
    check_vocabulary(plan_of().decoder, 512)
    with pytest.raises(DataError, match=r"513 tokens.* 512 rows") as caught:
        check_vocabulary(plan_of().decoder, 513)
    assert (caught.value.code, "model.vocab_size: 576" in caught.value.remedy) == ("RC406", True)


def test_flops_follow_the_palm_formula() -> None:
    """6 N + 12 L h s: for one layer of width 32 over 64 positions."""
    assert flops_per_token(plan_of().decoder, 64) == 6 * 26_720 + 12 * 1 * 32 * 64
