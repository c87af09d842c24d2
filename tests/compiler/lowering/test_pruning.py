"""Pruning and factors in the plan: what is left of a model, what is refused, and what later runs take over."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.layers import body_layers, structures
from schemas.diagnostics import DiagnosticsError, Severity
from schemas.plan import RunPlan
from schemas.techniques.low_rank import LowRankAlgorithm
from schemas.techniques.pruning import PruningAlgorithm
from tests.recipes import compile_text, plan_text

HEAD = """\
name: small
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources:
    code: {builtin: cpython-library}
    prose: {builtin: cpython-docs}
budget: {tokens: 1M tok}
training: {batch: 10000 tok}
"""
LLAMA = (
    HEAD
    + "model: {family: llama, hidden_size: 64, num_layers: 2, num_heads: 4, num_kv_heads: 2, intermediate_size: 96}\n"
)
GPT2 = HEAD + "model: {family: gpt2, hidden_size: 64, num_layers: 2, num_heads: 4, intermediate_size: 96}\n"
RUNS = LLAMA + (
    "sequence:\n"
    "  - {name: train}\n"
    "  - {name: prune, model: {start: {run: previous}}, compression: [{kind: pruning}]}\n"
    "  - {name: after, model: {start: {run: previous}}}\n"
)
THIN = LLAMA + (
    "sequence:\n"
    "  - {name: train}\n"
    "  - {name: thin, model: {start: {run: previous}}, compression: [{kind: low_rank, parameters: 0.5}]}\n"
)
DIGITS = """\
name: digits
objective: classification
data: {image: {size: 8, channels: 1}, sources: {digits: {builtin: digits}}}
training: {duration: 10ep, batch: 64}
"""
# Of each llama layer: q, o 64 x 64, k, v 32 x 64, gate, up, down 96 x 64.
BODY = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64)


def pruned(folder: Path, knobs: str, base: str = LLAMA) -> RunPlan:
    """The plan with one technique."""
    return plan_text(f"{base}compression: [{{kind: pruning, {knobs}}}]\n", folder)


def codes(folder: Path, text: str, *overrides: str) -> list[tuple[str, str, str]]:
    """Code, place and line to write of each finding."""
    with pytest.raises(DiagnosticsError) as caught:
        compile_text(text, folder, *overrides).expect()
    return [(found.code, found.path, found.help) for found in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("knobs", "parameters", "zeros"),
    [
        ("sparsity: 0.3", 0, 2 * (2 * round(0.3 * 4096) + 2 * round(0.3 * 2048) + 3 * round(0.3 * 6144))),
        ("sparsity: 0.3, scope: global", 0, round(0.3 * BODY)),
        ("method: 2:4", 0, BODY // 2),
        ("exclude: [down_proj]", 0, (BODY - 2 * 96 * 64) // 2),
        ("targets: attention", 0, 2 * (64 * 64 + 32 * 64)),
        ("method: structured", BODY // 2, 0),
        ("method: structured, targets: mlp, sparsity: 0.26", 2 * 25 * 3 * 64, 0),
        ("method: structured, exclude: [layers.0.mlp], targets: mlp", 0, 48 * 3 * 64),
    ],
)
def test_what_is_left_is_counted(tmp_path: Path, knobs: str, parameters: int, zeros: int) -> None:
    """round(s n) of each layer, of all, or of the units of each structure; these only leave where all layers lose them."""
    plan = pruned(tmp_path, knobs)
    assert plan.shipped is not None
    total = plan.model.num_parameters
    assert plan.shipped.num_parameters == total - parameters
    assert plan.shipped.nonzero == pytest.approx(1 - zeros / total)
    assert "compress" in [step.kind for step in plan.steps]


def test_the_schedule_is_in_tokens_and_steps(tmp_path: Path) -> None:
    """98 batches of 80 samples; a one-shot removal has a window without length."""
    (slope,) = pruned(tmp_path, "start: 10ba, end: 60ba, interval: 5ba, initial: 0.1, schedule: linear").algorithms
    (once,) = pruned(tmp_path, "start: 10ba, schedule: oneshot").algorithms
    assert isinstance(slope, PruningAlgorithm)
    assert isinstance(once, PruningAlgorithm)
    batch = pruned(tmp_path, "").training.global_batch_tokens
    assert (slope.window.start_token, slope.window.end_token, slope.interval_steps) == (10 * batch, 60 * batch, 5)
    assert (once.window.start_token, once.window.end_token, once.interval_steps) == (10 * batch, 10 * batch, 1)


@pytest.mark.parametrize(
    ("knobs", "key", "help_"),
    [
        ("method: 2:4, sparsity: 0.4", "sparsity", "sparsity: 0.5"),
        ("method: structured, scope: global", "scope", "scope: layer"),
        ("norm: l2", "norm", "delete `norm`, or write `method: structured`"),
        ("schedule: oneshot, interval: 2ba", "interval", "delete `interval`, or write `schedule: cubic`"),
        ("start: 0.5dur, end: 0.6dur, interval: 0.5dur", "interval", "interval: 1ba"),
        ("exclude: [model.layers.0.mlp.up_porj]", "exclude", "exclude: [model.layers.0.mlp.up_proj]"),
        ("schedule: oneshot, start: 1dur", "start", "start: 0.2dur"),
        ("exclude: [layers]", "exclude", "exclude: [model.layers.0.self_attn.q_proj]"),
        ("method: structured, exclude: [mlp, v_proj]", "exclude", "exclude: [model.layers.0.self_attn.q_proj]"),
        ("method: structured, targets: attention, sparsity: 0.2", "sparsity", "sparsity: 0.5"),
        ("end: 200ba", "end", "end: 0.5dur"),
    ],
)
def test_knobs_that_nothing_reads_are_refused(tmp_path: Path, knobs: str, key: str, help_: str) -> None:
    """Each with its line, and the line to write."""
    found = codes(tmp_path, f"{LLAMA}compression: [{{kind: pruning, {knobs}}}]\n")
    assert found == [("RC203", f"compression[0].{key}", help_)]


def test_a_slope_that_falls_is_refused(tmp_path: Path) -> None:
    """It would begin with more than it ends with."""
    found = codes(tmp_path, LLAMA + "compression: [{kind: pruning, initial: 0.6}]\n")
    assert [(code, path) for code, path, _ in found] == [("RC104", "compression[0].initial")]


def test_gpt2_loses_channels_and_heads_with_their_biases(tmp_path: Path) -> None:
    """An MLP's channel has 2 x 64 weights and a bias; a head of 16 three of each column, their biases, and its rows."""
    plan = pruned(tmp_path, "method: structured", GPT2)
    assert plan.shipped is not None
    heads = 2 * 2 * 16 * (3 * (64 + 1) + 64)
    assert plan.model.num_parameters - plan.shipped.num_parameters == 2 * 48 * (2 * 64 + 1) + heads
    assert {layer.group for layer in structures(plan.model)} == {"mlp", "attention"}


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_networks_lose_channels_whatever_their_norm(tmp_path: Path, norm: str) -> None:
    """Half of the channels or groups of each block; a quarter of eight groups of three is two of them, six channels."""
    text = DIGITS + f"model: {{family: resnet, depth: 8, width: 24, norm: {norm}}}\n"
    shares = {}
    for sparsity in (0.5, 0.25):
        plan = pruned(tmp_path, f"method: structured, sparsity: {sparsity}", text)
        assert plan.shipped is not None
        shares[sparsity] = plan.model.num_parameters - plan.shipped.num_parameters
    # One basic block a stage: 9 (inputs + planes) weights, a scale and a shift a channel.
    each = [(24, 9 * 48 + 2), (48, 9 * 72 + 2), (96, 9 * 144 + 2)]
    assert shares == {share: sum(round(share * n) * weights for n, weights in each) for share in shares}


def test_a_mask_takes_a_byte_of_each_weight(tmp_path: Path) -> None:
    """Beside the plain run."""
    before = plan_text(LLAMA, tmp_path).estimate.peak_memory_bytes
    after = pruned(tmp_path, "").estimate.peak_memory_bytes
    assert after - before == pytest.approx(BODY, rel=0.1)


def test_only_a_ranking_of_all_layers_needs_whole_weights(tmp_path: Path) -> None:
    """Inside layers FSDP's units are gathered one by one."""
    gpus = LLAMA + "hardware: {gpu: h100-sxm-80gb, count: 2}\n"
    sharded = plan_text(gpus + "compression: [{kind: pruning}]\n", tmp_path, "training.sharding=full")
    assert sharded.parallelism.strategy == "fsdp"
    over_all = plan_text(gpus + "compression: [{kind: pruning, scope: global}]\n", tmp_path)
    assert over_all.parallelism.strategy == "ddp"


def test_a_run_from_a_pruned_one_holds_its_zeros(tmp_path: Path) -> None:
    """Without a line of its own, and its provenance says why; the shares of the start are what it ships."""
    _, prune, after = plan_text(RUNS, tmp_path).runs
    (held,) = after.algorithms
    assert isinstance(held, PruningAlgorithm)
    assert (held.schedule, held.window.end_token, held.sparsity) == ("hold", 0, 0.5)
    assert after.provenance["algorithms[0]"].reason == "what the run `prune` pruned stays zero"
    assert prune.shipped is not None
    assert after.shipped is not None
    assert after.shipped.nonzero == prune.shipped.nonzero < 1


def test_more_may_be_pruned_later(tmp_path: Path) -> None:
    """The zeros of before are held while the new slope rises; what is shipped follows the last one."""
    last = plan_text(RUNS, tmp_path, "sequence.after.compression=[{kind: pruning, sparsity: 0.75}]")
    assert [spec.schedule for spec in last.algorithms if isinstance(spec, PruningAlgorithm)] == ["hold", "cubic"]
    assert last.shipped is not None
    assert last.shipped.nonzero == pytest.approx(1 - 0.75 * BODY / last.model.num_parameters)


def test_adapters_would_revive_what_is_held(tmp_path: Path) -> None:
    """LoRA claims the weights alone: both lines are named, the start's and the adapter's."""
    compiled = compile_text(RUNS, tmp_path, "sequence.after.training.adapter={rank: 4}")
    with pytest.raises(DiagnosticsError) as caught:
        compiled.expect()
    (clash,) = [found for found in caught.value.diagnostics if found.code == "RC202"]
    assert "both claim model.weights" in clash.message
    assert clash.related[0].span is not None


@pytest.mark.parametrize(
    ("knobs", "ranks"),
    [
        ("rank: 16", {"q_proj": 16, "k_proj": 16, "gate_proj": 16}),
        ("parameters: 0.5", {"q_proj": 16, "k_proj": 10, "gate_proj": 19}),
        ("rank: 24, targets: attention", {"q_proj": 24, "gate_proj": None}),
    ],
)
def test_factors_are_counted_by_rank(tmp_path: Path, knobs: str, ranks: dict[str, int | None]) -> None:
    """r (m + n) in place of m n, where that is less: 24 saves nothing of 32 x 64 (break-even 21)."""
    plan = plan_text(THIN, tmp_path, f"sequence.thin.compression=[{{kind: low_rank, {knobs}}}]")
    shapes = {"q_proj": (64, 64), "k_proj": (32, 64), "gate_proj": (96, 64)}
    times = {"q_proj": 2, "k_proj": 2, "gate_proj": 3}  # o like q, v like k, up and down like gate
    saved = 2 * sum(
        times[name] * (m * n - rank * (m + n))
        for name, (m, n) in shapes.items()
        if (rank := ranks.get(name)) is not None
    )
    assert plan.shipped is not None
    assert plan.model.num_parameters - plan.shipped.num_parameters == saved
    takes = plan_text(THIN, tmp_path).runs[0]
    assert plan.estimate.tokens_per_s_per_gpu > takes.estimate.tokens_per_s_per_gpu


def test_with_energy_the_plan_promises_nothing(tmp_path: Path) -> None:
    """How many singular values that are, the weights say: sizes are those of the whole model."""
    plan = plan_text(THIN, tmp_path, "sequence.thin.compression=[{kind: low_rank, energy: 0.9}]")
    assert plan.shipped is not None
    assert plan.shipped.num_parameters == plan.model.num_parameters


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sequence.thin.compression=[{kind: low_rank}]", ("RC201", "parameters: 0.5")),
        (
            "sequence.thin.compression=[{kind: low_rank, rank: 4, energy: 0.5}]",
            ("RC201", "delete one of the two lines"),
        ),
        ("sequence.thin.compression=[{kind: low_rank, rank: 999}]", ("RC203", "rank: 19")),
        (
            "sequence.thin.compression=[{kind: low_rank, rank: 4}, {kind: pruning, method: structured}]",
            ("RC202", "remove one of the two"),
        ),
        ("sequence.thin.model.start=null", ("RC203", "model: {start: models/base}   # or {start: {run: previous}}")),
    ],
)
def test_factors_that_can_t_be_had(tmp_path: Path, override: str, expected: tuple[str, str]) -> None:
    """None or two measures, a rank that saves nothing, channels of layers that have none, random weights."""
    found = codes(tmp_path, THIN, override)
    assert [(code, help_) for code, _, help_ in found] == [expected]


def test_a_run_from_factors_keeps_them(tmp_path: Path) -> None:
    """And makes no new ones."""
    more = THIN + "  - {name: after, model: {start: {run: previous}}}\n"
    plan = plan_text(more, tmp_path)
    (kept,) = plan.algorithms
    assert isinstance(kept, LowRankAlgorithm)
    assert kept.hold
    assert plan.shipped is not None
    assert plan.shipped.num_parameters < plan.model.num_parameters
    again = codes(tmp_path, more, "sequence.after.compression=[{kind: low_rank, rank: 4}]")
    assert [(code, help_) for code, _, help_ in again] == [("RC203", "delete this item")]
    heads = codes(tmp_path, more, "sequence.after.compression=[{kind: pruning, method: structured}]")
    assert [(code, help_) for code, _, help_ in heads] == [("RC203", "method: magnitude")]


def test_layers_of_a_family_have_their_shapes(tmp_path: Path) -> None:
    """All weights of llama's blocks but the norms."""
    assert sum(layer.weights for layer in body_layers(plan_text(LLAMA, tmp_path).model)) == BODY


def test_factors_of_single_zeros_are_refused(tmp_path: Path) -> None:
    """The product of factors has no zeros, so what an earlier run pruned would come back; the other order is fine."""
    first = "sequence.prune.compression=[{kind: pruning, method: magnitude}]"
    assert codes(tmp_path, RUNS, first, "sequence.after.compression=[{kind: low_rank, rank: 4}]") == [
        (
            "RC203",
            "sequence[2].compression[0].kind",
            "low_rank in the run before, and `kind: pruning` here: factors are pruned like any weights",
        )
    ]
    thin = "sequence.prune.compression=[{kind: low_rank, rank: 4}]"
    compile_text(RUNS, tmp_path, thin, "sequence.after.compression=[{kind: pruning}]").expect()


def test_factors_are_made_of_what_structured_pruning_left(tmp_path: Path) -> None:
    """Of half of the channels and heads: q 32 x 64, k 16 x 64, up 48 x 64; a fourth run keeps them without a line."""
    more = RUNS + "  - {name: last, model: {start: {run: previous}}, compression: [{kind: pruning, sparsity: 0.25}]}\n"
    said = ["sequence.prune.compression=[{kind: pruning, method: structured}]"]
    said += ["sequence.after.compression=[{kind: low_rank, rank: 8}]"]
    _, prune, thin, last = plan_text(more, tmp_path, *said).runs
    (spec,) = thin.algorithms
    assert isinstance(spec, LowRankAlgorithm)
    assert [one.sparsity for one in spec.removes] == [0.5]
    assert prune.shipped is not None
    assert thin.shipped is not None
    assert last.shipped is not None
    saved = 2 * (2 * (32 * 64 - 8 * 96) + 2 * (16 * 64 - 8 * 80) + 3 * (48 * 64 - 8 * 112))
    assert prune.shipped.num_parameters - thin.shipped.num_parameters == saved
    assert last.shipped.num_parameters == thin.shipped.num_parameters
    assert [(one.kind, getattr(one, "hold", None)) for one in last.algorithms] == [
        ("low_rank", True),
        ("pruning", None),
    ]
    # Fewer FLOPs and weights while it trains, too.
    assert thin.estimate.tokens_per_s_per_gpu > prune.estimate.tokens_per_s_per_gpu
    assert thin.estimate.peak_memory_bytes < prune.estimate.peak_memory_bytes


def test_channels_that_had_to_stay_are_not_filled_by_factors(tmp_path: Path) -> None:
    """With an MLP spared the others stay as wide as it, with zeros in them."""
    first = "sequence.prune.compression=[{kind: pruning, method: structured, exclude: [layers.0.mlp]}]"
    found = codes(tmp_path, RUNS, first, "sequence.after.compression=[{kind: low_rank, rank: 4}]")
    assert [(code, help_) for code, _, help_ in found] == [("RC203", "delete this item, or `exclude` of the pruning")]


def test_zeros_of_all_runs_before_are_held(tmp_path: Path) -> None:
    """MLPs in one run, attention in the next: the third holds both and ships neither, and says how much is left."""
    more = RUNS + "  - {name: last, model: {start: {run: previous}}}\n"
    said = ["sequence.prune.compression=[{kind: pruning, method: structured, targets: mlp}]"]
    said += ["sequence.after.compression=[{kind: pruning, method: structured, targets: attention}]"]
    *_, after, last = plan_text(more, tmp_path, *said).runs
    (held,) = last.algorithms
    assert isinstance(held, PruningAlgorithm)
    assert (held.schedule, held.targets, held.exclude) == ("hold", "all", ())
    assert after.shipped is not None
    assert last.shipped is not None
    assert after.model.num_parameters - after.shipped.num_parameters == BODY // 2
    assert last.shipped == after.shipped


def test_a_spared_layer_is_held_by_none(tmp_path: Path) -> None:
    """Where two runs spared different layers, those that neither touched are named, and may learn."""
    said = ["sequence.prune.compression=[{kind: pruning, exclude: [mlp]}]"]
    said += ["sequence.after.compression=[{kind: pruning, exclude: [self_attn, down_proj]}]"]
    more = RUNS + "  - {name: last, model: {start: {run: previous}}}\n"
    (held,) = plan_text(more, tmp_path, *said).algorithms
    assert isinstance(held, PruningAlgorithm)
    assert held.exclude == ("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj")


def test_few_heads_are_rounded_off_and_it_is_said(tmp_path: Path) -> None:
    """One of two key-value groups is half of them, where 0.8 was asked; channels are many enough."""
    compiled = compile_text(LLAMA + "compression: [{kind: pruning, method: structured, sparsity: 0.8}]\n", tmp_path)
    compiled.expect()
    (warned,) = [one for one in compiled.findings if one.severity is Severity.WARNING and one.code == "RC203"]
    assert "1 of 2 key-value groups go" in warned.message
    assert warned.path == "compression[0].sparsity"
