"""Public models by the names of many tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.estimate.rows.shapes import Dimensions, shape_of
from compiler.estimate.workload import Shape

NOTHING = Dimensions(None, None, None, None, None, None, None, None, 4096)


def known(name: str) -> Shape:
    """The configuration of this name, in a table that gives no dimension."""
    found = shape_of(name, NOTHING)
    assert not isinstance(found, str), found
    return found


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("meta-llama/Llama-2-7b-chat-hf", "llama2-7b"),
        ("Meta-Llama-3.1-8B-Instruct", "llama3-8b"),
        ("llama-3.1-405b", "llama3-405b"),
        ("Llama 3.3 70B", "llama3-70b"),
        ("llama-1-7b", "llama-7b"),
        ("LLaMA-33B", "llama-30b"),
        ("vicuna-7b", "llama-7b"),
        ("open_llama_13b", "llama-13b"),
        ("Mistral-7B-v0.3", "mistral-7b"),
        ("deepseek-llm-67b", "deepseek-67b"),
        ("DeepSeek-R1", "deepseek-v3"),
        ("DeepSeek V3 671B", "deepseek-v3"),
        ("Grok-1 314B", "grok-1"),
        ("GLM-4.6", "glm-4.5"),
        ("gpt2", "gpt2-124m"),
        ("GPT2-XL", "gpt2-1.5b"),
        ("GPT-J", "gpt-j-6b"),
        ("NeoX-20B", "gpt-neox-20b"),
        ("BLOOM", "bloom-176b"),
        ("NEMOTRON_340B", "nemotron4-340b"),
        ("OLMo-2-1124-13B", "olmo2-13b"),
        ("SmolLM-1.7B", "smollm2-1.7b"),
        ("Qwen2-7B", "qwen2.5-7b"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
    ],
)
def test_spellings(spelling: str, name: str) -> None:
    assert known(spelling) == known(name)


def test_small_llamas_keep_their_own_shapes() -> None:
    """3.2 is another model than 3, 3.1 and 3.3."""
    assert known("Llama-3.2-1B").layers == 16
    assert known("llama3.2-3b").layers == 28


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("qwen1.5-72b", 72.29),
        ("gemma2-2b", 2.614),
        ("gemma3-27b", 27.01),
        ("phi-4", 14.66),
        ("internlm2-20b", 19.86),
        ("starcoder2-15b", 15.96),
        ("smollm-135m", 0.1345),
        ("mistral-nemo-12b", 12.25),
        ("codellama-34b", 33.74),
        ("yi-9b", 8.829),
        ("granite-3.0-8b", 8.171),
        ("olmo-7b", 6.888),
        ("command-r-35b", 34.98),
        ("mt-nlg-530b", 529.6),
    ],
)
def test_published_sizes(name: str, billions: float) -> None:
    """The counts that the models' publishers print."""
    assert known(name).parameters / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "billions", "active"),
    [("llama4-scout", 107.8, 17.2), ("deepseek-v2-lite", 15.7, 2.4), ("dbrx", 131.6, 36), ("olmoe-1b-7b", 6.92, 1.28)],
)
def test_published_mixtures(name: str, billions: float, active: float) -> None:
    """All parameters, and those that one token passes through."""
    shape = known(name)

    assert shape.parameters / 1e9 == pytest.approx(billions, rel=0.01)
    assert shape.active_parameters / 1e9 == pytest.approx(active, rel=0.01)
    assert shape.experts > 1


@pytest.mark.parametrize("name", ["mamba-2.8b", "jamba", "t5-3b", "llama", "deepseek-v3-16b", ""])
def test_an_unknown_model_is_not_guessed(name: str) -> None:
    assert isinstance(shape_of(name, NOTHING), str)


@pytest.mark.parametrize(
    ("name", "parameters", "active", "words"),
    [
        ("llama3.1-405b-proxy", 30_000_000_000, None, "not 30000000000"),
        ("mpt-7b", None, 22_000_000_000, "more than all"),
        ("mpt-7b", 6_658_859_008, 2_000_000_000, "experts"),
    ],
)
def test_counts_that_contradict_a_known_model(
    name: str, parameters: int | None, active: int | None, words: str
) -> None:
    """A shrunken proxy of a model is another model, whatever its name."""
    found = shape_of(name, replace(NOTHING, parameters=parameters, active_parameters=active))

    assert isinstance(found, str)
    assert words in found


def test_rounded_counts_are_the_same_model() -> None:
    found = shape_of("llama2-7b", replace(NOTHING, parameters=7_000_000_000, active_parameters=7_000_000_000))

    assert not isinstance(found, str)
    assert found.layers == 32
