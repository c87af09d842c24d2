"""compiler.lineage.pretrained: what config.json says of a model, with the counts of published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.lineage.pretrained import described, hub_folder, read_config, unlike

# As transformers 4.57 saves SmolLM2-135M-Instruct, whose parameters it counts as 134,515,008.
SMOLLM2: dict[str, Any] = {
    "model_type": "llama",
    "attention_bias": False,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.02,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
    "vocab_size": 49152,
}
# OpenAI's GPT-2 small, 124,439,808 parameters.
GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "vocab_size": 50257,
}


def folder_with(folder: Path, config: object) -> Path:
    """A folder that holds a config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_a_llama(tmp_path: Path) -> None:
    """Every dimension, and what its weights were trained with."""
    found = described(folder_with(tmp_path, SMOLLM2))
    assert found is not None
    assert (found.family, found.num_parameters, found.vocab_size) == ("llama", 134_515_008, 49_152)
    plan = found.as_plan()
    assert (plan.hidden_size, plan.num_layers, plan.num_heads, plan.num_kv_heads) == (576, 30, 9, 3)
    assert (plan.max_sequence_length, plan.rope_theta, plan.norm_eps) == (8192, 100_000.0, 1e-5)
    assert (plan.tie_embeddings, plan.num_parameters) == (True, found.num_parameters)


def test_a_llama_as_transformers_5_writes_it(tmp_path: Path) -> None:
    """The base of its rotary positions stands in `rope_parameters` from there on."""
    config = {k: v for k, v in SMOLLM2.items() if k not in ("rope_theta", "rope_scaling")}
    found = described(
        folder_with(tmp_path, config | {"rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"}})
    )
    assert found is not None
    assert found.rope_theta == 100_000.0


def test_a_gpt2(tmp_path: Path) -> None:
    """What its config leaves out has transformers' defaults."""
    found = described(folder_with(tmp_path, GPT2))
    assert found is not None
    assert (found.family, found.num_parameters, found.dropout) == ("gpt2", 124_439_808, 0.1)
    assert (found.dimensions.intermediate, found.dimensions.tied, found.norm_eps) == (3072, True, 1e-5)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (SMOLLM2 | {"model_type": "mistral"}, "mistral"),
        (SMOLLM2 | {"attention_bias": True}, "attention_bias"),
        (SMOLLM2 | {"head_dim": 128}, "head_dim"),
        (SMOLLM2 | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling"),
        (SMOLLM2 | {"hidden_act": "gelu"}, "hidden_act"),
        (SMOLLM2 | {"hidden_size": "wide"}, "hidden_size"),
        ({k: v for k, v in SMOLLM2.items() if k != "num_hidden_layers"}, "num_hidden_layers"),
        (GPT2 | {"activation_function": "relu"}, "activation_function"),
        (GPT2 | {"n_layer": True}, "n_layer"),
        ({}, "None"),
    ],
)
def test_models_that_dimensions_alone_do_not_say(tmp_path: Path, config: dict[str, Any], word: str) -> None:
    """They are of no use as a start, and the reason names what is odd."""
    assert word in unlike(config)
    assert described(folder_with(tmp_path, config)) is None


def test_folders_without_a_config(tmp_path: Path) -> None:
    """Missing, damaged, no mapping."""
    assert read_config(tmp_path) is None
    for text in ("{", "[]", "[" * 100_000):
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        assert read_config(tmp_path) is None
        assert described(tmp_path) is None


def test_the_hubs_cache_is_read_and_nobody_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch leads to a commit, a commit to its folder; what was never fetched is not there."""
    commit = "a" * 40
    home = tmp_path / "models--org--base"
    folder = folder_with(home / "snapshots" / commit, SMOLLM2)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit, encoding="utf-8")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert hub_folder("org/base", None) == hub_folder("org/base", commit) == folder
    assert hub_folder("org/base", "b" * 40) is None
    assert hub_folder("org/base", "other") is None
    assert hub_folder("org/none", None) is None
