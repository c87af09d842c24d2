"""Trained weights from a folder or the hub: found, in fp32 whatever they were saved in, refused where they aren't the plan's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models

from runtime.errors import DataError, RunFailed
from runtime.models import start
from runtime.models.planned import build_untrained, initial_model
from runtime.steps import train
from schemas.plan import RunPlan
from tests.runtime.corpus import context_of
from tests.runtime.training_case import layout_of, plan_of
from tests.runtime.training_case import train as train_plan

GPT2 = {
    "family": "gpt2", "num_parameters": 31_200, "num_embedding_parameters": 18_432, "hidden_size": 32, "num_layers": 1,
    "intermediate_size": 128, "vocab_size": 512, "max_sequence_length": 64,
}  # fmt: skip


def begun(folder: str = "base", **changes: Any) -> RunPlan:
    """A plan that starts from a folder."""
    given = {"kind": "folder", "run": None, "fingerprint": None, "folder": folder, "hub": None, "revision": None}
    return plan_of(4, start=given, **changes)


def save(folder: Path, dtype: torch.dtype = torch.float32, **changes: Any) -> dict[str, torch.Tensor]:
    """A Hugging Face folder with other weights than those of the plan's seed, and what is in it."""
    model: Any = build_untrained(plan_of(4, seed=99, **changes)).to(dtype)
    model.save_pretrained(folder)
    return {name: weight.float() for name, weight in model.state_dict().items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_the_folders_to_the_last_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    """Also those of 16 bits, which are trained in fp32; nothing is frozen."""
    saved = save(tmp_path / "base", dtype)
    plan = begun()
    model = initial_model(plan, layout_of(plan, tmp_path))
    found = model.state_dict()
    assert found.keys() == saved.keys()
    assert all(torch.equal(found[name], saved[name]) for name in saved)
    assert all(weight.requires_grad and weight.dtype == torch.float32 for weight in model.parameters())
    assert model.training


def test_a_training_goes_on_from_them(tmp_path: Path) -> None:
    """The same seed and data from a folder of random weights of that seed: the very training that began at random."""
    model: Any = build_untrained(plan_of(4))
    model.save_pretrained(tmp_path / "base")
    one, other = train_plan(plan_of(4), tmp_path), train_plan(begun(name="begun"), tmp_path)
    assert (one["loss"], one["initial_loss"]) == (other["loss"], other["initial_loss"])


def test_dropout_and_attention_are_the_recipes(tmp_path: Path) -> None:
    """A gpt2 that was saved with dropout begins with the plan's."""
    save(tmp_path / "base", model={**GPT2, "dropout": 0.1})
    plan = begun(model={**GPT2, "dropout": 0.25, "attention": "eager"})
    config: Any = initial_model(plan, layout_of(plan, tmp_path)).config
    assert (config.resid_pdrop, config.embd_pdrop, config.attn_pdrop) == (0.25, 0.25, 0.25)
    assert config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"rope_theta": 500_000.0}, "500000"),
        ({"norm_eps": 1e-6}, "its rms_norm_eps is 1e-06, the plan's 1e-05"),
        ({"num_heads": 4, "num_kv_heads": 4}, "its num_attention_heads is 4, the plan's 2"),
        ({"intermediate_size": 96, "num_parameters": 29_792}, "the plan has 26,720 parameters, the model in"),
    ],
)
def test_weights_that_would_compute_something_else_are_refused(
    tmp_path: Path, model: dict[str, Any], said: str
) -> None:
    """Shapes, and what no shape shows: the base of the positions, the norms, the heads."""
    save(tmp_path / "base", model=model)
    plan = begun()
    with pytest.raises(DataError) as caught:
        initial_model(plan, layout_of(plan, tmp_path))
    assert caught.value.code == "RC406"
    assert said in caught.value.message


def test_a_folder_that_cannot_be_started_from(tmp_path: Path) -> None:
    """Missing; without safetensors, such as GGUF; each says what to do."""
    with pytest.raises(DataError, match="there are no weights `base`; looked in"):
        start.folder_of_start(begun(), (tmp_path,))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(DataError, match=r"have no \*.safetensors, only model.gguf, which are not read") as caught:
        start.folder_of_start(begun(), (tmp_path,))
    assert (caught.value.code, "save_pretrained" in caught.value.remedy) == ("RC401", True)
    assert start.folder_of_start(plan_of(), (tmp_path,)) is None


def test_changed_weights_are_another_training(tmp_path: Path) -> None:
    """The key of the training holds the hashes of the start's files, and no note beside them."""
    save(tmp_path / "base")
    context = context_of(begun(), tmp_path)
    before = train.identity(context.plan.steps[0], context, {})
    (tmp_path / "base" / "README.md").write_text("a note")
    assert train.identity(context.plan.steps[0], context, {}) == before
    (tmp_path / "base" / "model.safetensors").write_bytes(b"other")
    assert train.identity(context.plan.steps[0], context, {}) != before


def test_token_ids_must_mean_the_same_words(tmp_path: Path) -> None:
    """The tokenizer that lies beside the weights is compared with the run's."""
    save(tmp_path / "base")
    for name, words in (("base", {"a": 0, "b": 1}), ("ours", {"a": 1, "b": 0})):
        (tmp_path / name).mkdir(exist_ok=True)
        Tokenizer(models.WordLevel(words, unk_token="a")).save(str(tmp_path / name / "tokenizer.json"))
    plan = begun()
    with pytest.raises(DataError, match=r"the start in .* has another tokenizer: 2 of 2 tokens"):
        start.check_start(plan, layout_of(plan, tmp_path), tmp_path / "ours")
    start.check_start(plan, layout_of(plan, tmp_path), tmp_path / "base")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the Hugging Face hub, as `snapshot_download` leaves it, with one model at one commit."""
    from huggingface_hub import constants

    commit = "c" * 40
    repository = tmp_path / "hub" / "models--someone--tiny"
    save(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository / "snapshots" / commit


def hub_plan(name: str, revision: str | None) -> RunPlan:
    """A plan that starts from the hub, without a network."""
    given = {"kind": "hub", "run": None, "fingerprint": None, "folder": None, "hub": name, "revision": revision}
    return plan_of(4, start=given, execution={"offline": True})


def test_the_hubs_cache_is_enough(tmp_path: Path, hub: Path) -> None:
    """Offline, by commit or by name, the weights come from the disk; what isn't there is told with the way out."""
    for revision in ("c" * 40, None):
        plan = hub_plan("someone/tiny", revision)
        assert start.folder_of_start(plan, (tmp_path,)) == hub
        assert json.loads((hub / "config.json").read_text())["vocab_size"] == plan.decoder.vocab_size
        assert isinstance(initial_model(plan, layout_of(plan, tmp_path)), torch.nn.Module)
    with pytest.raises(RunFailed, match="`someone/absent` can't be had from the hub") as caught:
        start.folder_of_start(hub_plan("someone/absent", "d" * 40), (tmp_path,))
    assert (caught.value.code, "model.start.folder" in caught.value.remedy) == ("RC607", True)
