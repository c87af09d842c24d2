"""Models of others, which are only read: none of their code runs, and what can't be read is told in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import DataError
from runtime.models.frozen import load_frozen

_CODE = "import pathlib\npathlib.Path({place!r}).write_text('ran')\n"
_REMOTE = {"AutoConfig": "theirs.C", "AutoModelForCausalLM": "theirs.M"}
_LLAMA = {"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 1, "vocab_size": 8}


@pytest.mark.parametrize("kind", ["theirs", "llama"])
def test_code_in_a_folder_is_neither_run_nor_asked_about(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers would ask on the terminal whether to run it, and wait; here the answer is no."""
    marker = tmp_path / "marker"
    (tmp_path / "theirs.py").write_text(_CODE.format(place=str(marker)))
    (tmp_path / "config.json").write_text(json.dumps({**_LLAMA, "model_type": kind, "auto_map": _REMOTE}))
    asked: list[str] = []

    def answer(prompt: str = "") -> str:
        asked.append(prompt)
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    with pytest.raises(DataError, match=r"the teacher in .* can't be loaded"):
        load_frozen(tmp_path, "the teacher")
    assert not marker.exists()
    assert asked == []


@pytest.mark.parametrize(
    "change",
    [
        {"num_attention_heads": 0},
        {"hidden_size": "wide"},
        {"quantization_config": {"config_groups": []}},
        {"quantization_config": {"config_groups": {"group_0": {"weights": {"type": "int", "symmetric": True}}}}},
    ],
    ids=["no heads", "text for a number", "no groups", "no bits"],
)
def test_a_configuration_that_makes_no_sense_is_told(change: dict[str, Any], tmp_path: Path) -> None:
    """Whatever the library stumbles over, the folder is named and no traceback shown."""
    (tmp_path / "config.json").write_text(json.dumps({**_LLAMA, **change}))
    with pytest.raises(DataError, match=r"the teacher in .* can't be loaded"):
        load_frozen(tmp_path, "the teacher")
