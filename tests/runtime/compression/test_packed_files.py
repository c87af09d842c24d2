"""Files of quantised models: read by compressed-tensors in a process of its own, and as small as their bits say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from runtime.algorithms import quantization
from runtime.compression.packed_files import pack, packed_state, unpack
from runtime.compression.rounded_layers import plain_model, rounded_layers
from runtime.compression.shipping import in_export_dtype
from runtime.errors import DataError
from runtime.models.folders import COMPRESSED
from runtime.models.frozen import load_frozen
from runtime.models.model_files import write_loadable, write_smallest
from runtime.models.planned import build_untrained
from schemas.plan import RunPlan
from schemas.techniques.quantization import QuantizationAlgorithm
from tests.runtime.training_case import plan_of

CARD = Path(__file__).parents[3] / "docs" / "techniques" / "quantization.md"
IDS = torch.arange(64).view(2, 32) * 5 % 512

INT8 = {"weights": "int8", "granularity": "channel", "group_size": None}
FORMS: dict[str, dict[str, Any]] = {
    "int8-channel": INT8,
    "int8-tensor": {**INT8, "granularity": "tensor"},
    "int8-group": {"weights": "int8"},
    "int4-group": {},
    "int8-inputs": {**INT8, "activations": "int8"},
    "int4-inputs": {"activations": "int8"},
    "int4-but-down": {"exclude": ["down_proj"]},
}

SCRIPT = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM
assert not any(name.startswith("runtime") for name in sys.modules)
for folder in sorted(Path(sys.argv[1]).iterdir()):
    model, found = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(found.values()), found
    ids = torch.arange(64).view(2, 32) * 5 % 512
    torch.save(model.eval()(input_ids=ids).logits, Path(sys.argv[2]) / f"{folder.name}.pt")
"""


def plan_with(changes: dict[str, Any], **sections: Any) -> RunPlan:
    """A plan that rounds its finished model: int4 in groups of 16, unless changed."""
    spec = {
        "kind": "quantization", "window": {"start_token": 3072, "end_token": 3072}, "mode": "ptq", "weights": "int4",
        "granularity": "group", "group_size": 16, "activations": "none", "exclude": [], **changes,
    }  # fmt: skip
    return plan_of(6, algorithms=[spec], **sections)


def shipped_model(plan: RunPlan) -> torch.nn.Module:
    """A model of the plan, rounded, in evaluation mode and in the format of the export."""
    spec = cast("QuantizationAlgorithm", plan.algorithms[0])
    return in_export_dtype(quantization.ship(spec, build_untrained(plan).eval(), plan), plan)


def test_others_load_it_and_compute_the_same(tmp_path: Path) -> None:
    """Every form, by `from_pretrained` in a process without our code: the logits are the shipped model's own."""
    expected = {}
    for name, changes in FORMS.items():
        plan = plan_with(changes)
        model = shipped_model(plan)
        expected[name] = model(input_ids=IDS).logits
        (tmp_path / "models" / name).mkdir(parents=True)
        write_smallest(model, tmp_path / "models" / name, plan)
    (tmp_path / "logits").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "models"), str(tmp_path / "logits")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name, logits in expected.items():
        found = torch.load(tmp_path / "logits" / f"{name}.pt", weights_only=True)
        assert torch.allclose(found, logits, atol=1e-3), name
        # Nothing but rounding is in the way: inputs are rounded by the loader too, weights are the same numbers.
        assert (found - logits).abs().max().item() < 1e-5, name


@pytest.mark.parametrize("bits", [4, 8])
def test_packing_is_compressed_tensors_own(bits: int) -> None:
    """Eight of 4 bits or four of 8 in an int32, rows padded; the sign bit included; and back again."""
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    low, high = -(1 << bits - 1), 1 << bits - 1
    q = torch.randint(low, high, (6, 43), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    q[0, :8] = high - 1  # all bits set, the highest of them a sign
    packed = pack(q, bits)
    assert torch.equal(packed, helpers.pack_to_int32(q, bits))
    assert packed.shape == (6, -(-43 // (32 // bits)))
    assert torch.equal(unpack(packed, bits, 43), q)


@pytest.mark.parametrize(
    ("changes", "share"),
    # bf16 takes 16 bits: 8 of 16, and 4 + 16 / 32 of 16 with one scale of 16 bits for 32 weights.
    [(INT8, 0.5), ({"granularity": "group", "group_size": 32}, 0.28125)],
    ids=["int8", "int4"],
)
def test_rounded_layers_take_the_bits_that_they_say(changes: dict[str, Any], share: float) -> None:
    """int8 about a half, int4 in groups of 32 between 28 and 31 % of bf16; scales are in bf16 too."""
    plan = plan_with(changes, checkpoints={"export_dtype": "bf16"}, model={"hidden_size": 64, "intermediate_size": 128,
                     "num_parameters": 73_920, "num_embedding_parameters": 32_768})  # fmt: skip
    model = shipped_model(plan)
    state = packed_state(model)
    layers = rounded_layers(model)
    taken = sum(
        state[f"{name}.{part}"].nbytes
        for name in layers
        for part in ("weight_packed", "weight_scale")
    )  # fmt: skip
    whole = sum(2 * layer.quantized.numel() for layer in layers.values())
    # int8 by channel: one scale of 16 bits for 64 or 128 weights.
    assert taken / whole == pytest.approx(share, abs=0.02)
    assert taken / whole >= share
    facts = quantization.facts(cast("QuantizationAlgorithm", plan.algorithms[0]), model)
    assert facts["bits_per_weight"] == pytest.approx(16 * taken / whole)
    assert facts["layers"] == 7


def test_layers_that_no_loader_knows_come_packed_and_plain(tmp_path: Path) -> None:
    """GPT-2's Conv1D: an ordinary folder with the rounded numbers, and the packed ones beside, which say how to unpack."""
    model_of = {"family": "gpt2", "num_parameters": 27_040, "num_embedding_parameters": 18_432}
    plan = plan_with({}, model=model_of)
    model = shipped_model(plan)
    expected = model(input_ids=IDS).logits
    (tmp_path / "small").mkdir()
    write_smallest(model, tmp_path / "small", plan)
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == [COMPRESSED, "config.json"]
    written = set()
    for _ in range(8):  # the same bytes each time, whatever order safetensors keeps metadata in
        write_smallest(model, tmp_path / "small", plan)
        written.add((tmp_path / "small" / COMPRESSED).read_bytes())
    assert len(written) == 1
    (tmp_path / "export").mkdir()
    write_loadable(model, tmp_path / "export", plan)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "export").eval()
    assert torch.allclose(loaded(input_ids=IDS).logits, expected, atol=1e-6)
    packed = load_file(tmp_path / "small" / COMPRESSED)
    with safe_open(tmp_path / "small" / COMPRESSED, "pt") as handle:
        scheme = json.loads(handle.metadata()["quantization_config"])["config_groups"]["group_0"]["weights"]
    # The card's own lines unpack it.
    name = "transformer.h.0.mlp.c_fc"
    outputs, inputs = packed[f"{name}.weight_shape"].tolist()
    given = {
        "packed": packed[f"{name}.weight_packed"], "scale": packed[f"{name}.weight_scale"], "torch": torch,
        "bits": scheme["num_bits"], "group_size": scheme["group_size"], "outputs": outputs, "inputs": inputs,
    }  # fmt: skip
    (lines,) = re.findall(r"```python\n(.*?)```", CARD.read_text(encoding="utf-8"), re.DOTALL)
    exec(lines, given)  # our own documentation
    assert torch.equal(given["weight"].t(), load_file(tmp_path / "export" / "model.safetensors")[f"{name}.weight"])
    assert "lm_head.weight" not in packed or "transformer.wte.weight" not in packed


@pytest.mark.parametrize("name", ["int8-tensor", "int8-channel", "int4-group", "int8-inputs"])
def test_a_run_may_start_from_it_or_be_taught_by_it(tmp_path: Path, name: str) -> None:
    """Loaded as a start or a teacher it is a plain fp32 model with the rounded weights, that can be trained on."""
    plan = plan_with(FORMS[name])
    model = shipped_model(plan)
    write_smallest(model, tmp_path, plan)
    expected = plain_model(model)(input_ids=IDS).logits
    found = load_frozen(tmp_path, "the start").float()
    assert sum(parameter.numel() for parameter in found.parameters()) == plan.model.num_parameters
    assert torch.allclose(found(input_ids=IDS).logits, expected, atol=1e-6)


def test_other_quantisations_are_refused_as_a_start(tmp_path: Path) -> None:
    """Zero points, or 4-bit floats, would be read as something else."""
    plan = plan_with({})
    write_smallest(shipped_model(plan), tmp_path, plan)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["config_groups"]["group_0"]["weights"]["symmetric"] = False
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="quantised otherwise"):
        load_frozen(tmp_path, "the start")
