"""Distillation on real trainings: the gate, the teachers, what they change and what they leave alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from runtime import checkpoint
from runtime.algorithms import distillation
from runtime.algorithms.distillation import DistilledLoss, Gate
from runtime.errors import DataError, RunFailed
from runtime.models.planned import build_untrained, load_trained
from runtime.record import Record, write_record
from runtime.steps import train as train_step
from runtime.steps.base import Context
from schemas.plan import RunPlan
from schemas.techniques.distillation import DistillationAlgorithm
from tests.runtime.training_case import layout_of, metrics, plan_of, train

BATCH = 512
STEPS = 8


def spec(**changes: Any) -> dict[str, Any]:
    """A distillation over steps 1 to 5 of 8 from two teachers."""
    plain = {
        "kind": "distillation", "window": {"start_token": BATCH, "end_token": 6 * BATCH}, "temperature": 2.0, "weight": 0.5,
        "teachers": [{"folder": "teacher"}, {"folder": "other"}],
    }  # fmt: skip
    return {**plain, **changes}


def taught_plan(
    name: str = "tiny", *others: dict[str, Any], training: dict[str, Any] | None = None, **said: Any
) -> RunPlan:
    """A plan of 8 steps with one distillation, and further algorithms."""
    return plan_of(STEPS, name=name, algorithms=[spec(**said), *others], training=training or {})


def saved(model: Any, folder: Path) -> None:
    """A model as the folder of a teacher."""
    model.save_pretrained(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two teachers, tiny models of other seeds."""
    for number, name in enumerate(("teacher", "other")):
        saved(build_untrained(plan_of(seed=90 + number)), tmp_path / name)
    return tmp_path


def taught_steps(plan: RunPlan, folder: Path) -> list[int]:
    """Steps, from 0, whose loss had a teacher's term."""
    return [line["step"] - 1 for line in metrics(plan, folder) if "loss/distillation" in line]


@pytest.mark.parametrize(
    ("said", "steps"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"every": 2}, [1, 3, 5]),
        ({"every": 3}, [1, 4]),
        ({"every": 9}, [1]),
        ({"window": {"start_token": 0, "end_token": 8 * BATCH}, "every": 4}, [0, 4]),
        ({"window": {"start_token": 0, "end_token": BATCH}}, [0]),
    ],
)
def test_the_gate_opens_on_exactly_the_planned_steps(folder: Path, said: dict[str, Any], steps: list[int]) -> None:
    """Every k-th step of the window, counted from its start; the plan's duty is the share of them."""
    plan = taught_plan(**said)
    train(plan, folder)
    assert taught_steps(plan, folder) == steps
    lowered = cast("DistillationAlgorithm", plan.algorithms[0])
    assert lowered.duty(STEPS, BATCH) * STEPS == pytest.approx(len(steps))


def test_chance_is_a_function_of_seed_and_step_alone() -> None:
    """As many open steps as the probability says, the same on each call, others with another seed, none outside."""
    plan = taught_plan(window={"start_token": 0, "end_token": 10_000 * BATCH}, probability=0.3)
    gate = Gate.of(cast("DistillationAlgorithm", plan.algorithms[0]), plan)
    opened = [gate.is_open(step, step * BATCH) for step in range(10_000)]
    assert sum(opened) == pytest.approx(3_000, abs=150)  # 3 standard deviations are 137
    assert opened == [gate.is_open(step, step * BATCH) for step in range(10_000)]
    assert not gate.is_open(10_000, 10_000 * BATCH)
    other = Gate.of(cast("DistillationAlgorithm", plan.algorithms[0]), plan.model_copy(update={"seed": 18}))
    assert opened != [other.is_open(step, step * BATCH) for step in range(10_000)]
    turns = [gate.teacher(step, 3) for step in range(9_000)]
    assert [turns.count(number) for number in range(3)] == [pytest.approx(3_000, abs=150)] * 3


def test_before_and_after_the_window_the_loss_is_the_plain_one(folder: Path) -> None:
    """Bit for bit until the teacher speaks; then the hard loss has its whole weight again, and no other term."""
    plain = plan_of(STEPS, name="plain")
    taught = taught_plan(window={"start_token": 3 * BATCH, "end_token": 5 * BATCH}, weight=0.9)
    late = taught_plan("late", window={"start_token": 8 * BATCH, "end_token": 8 * BATCH})
    for plan in (plain, taught, late):
        train(plan, folder)
    losses = [[line["loss"] for line in metrics(plan, folder)] for plan in (plain, taught, late)]
    assert losses[0][:4] == losses[1][:4]  # the fourth is measured before it changes a weight
    assert losses[0][4] != losses[1][4]
    assert losses[2] == losses[0]
    lines = metrics(taught, folder)
    for line in lines[3:5]:
        mixture = 0.1 * line["loss/cross_entropy"] + 0.9 * line["loss/distillation"]
        assert line["loss/total"] == pytest.approx(mixture, rel=1e-5)
    assert all("loss/total" not in line for line in (*lines[:3], *lines[5:]))


def test_one_teacher_a_step_is_the_one_whose_turn_it_is(folder: Path) -> None:
    """With one teacher alone the first loss is that teacher's; with both, one at a time, it is one of theirs."""
    alone = [taught_plan(f"only-{name}", teachers=[{"folder": name}]) for name in ("teacher", "other")]
    one = taught_plan("one", sampling="one")
    for plan in (*alone, one):
        train(plan, folder)
    first = [metrics(plan, folder)[1]["loss/distillation"] for plan in (*alone, one)]
    gate = Gate.of(cast("DistillationAlgorithm", one.algorithms[0]), one)
    assert first[0] != first[1]
    assert first[2] == first[gate.teacher(1, 2)]


def test_gradient_accumulation_changes_nothing(folder: Path) -> None:
    """Two microbatches of four teach what one of eight does."""
    whole, halves = taught_plan("whole"), taught_plan("halves", training={"microbatch": 4})
    for plan in (whole, halves):
        train(plan, folder)
    for one, other in zip(metrics(whole, folder), metrics(halves, folder), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=2e-4)
        assert one.get("loss/distillation") == pytest.approx(other.get("loss/distillation"), abs=2e-4)


def test_the_teacher_is_no_part_of_what_is_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no gradients, its weights stay, and neither optimizer nor checkpoint holds it."""
    made: list[DistilledLoss] = []
    original = distillation.build

    def build(*said: Any) -> DistilledLoss:
        made.append(original(*said))
        return made[-1]

    monkeypatch.setattr(distillation, "build", build)
    plan, plain = taught_plan(), plan_of(STEPS, name="plain")
    train(plan, folder)
    train(plain, folder)
    (algorithm,) = made
    for teacher, seed in zip(algorithm._teachers, (90, 91), strict=True):
        assert not teacher.training
        assert all(weight.grad is None and not weight.requires_grad for weight in teacher.parameters())
        fresh = build_untrained(plan_of(seed=seed)).state_dict()
        assert all(torch.equal(weight, fresh[name]) for name, weight in teacher.state_dict().items())
    states = []
    for each in (plan, plain):
        found = checkpoint.latest(layout_of(each, folder).checkpoints, each)
        assert found is not None
        states.append(found.state["state"])
    assert states[0]["model"].keys() == states[1]["model"].keys()
    assert dict(states[0]["algorithms"]) == {"DistilledLoss": {}}


LATER = {"start_token": 2 * BATCH, "end_token": 6 * BATCH}
OTHERS: dict[str, dict[str, Any]] = {
    "pruning": {"kind": "pruning", "window": LATER, "sparsity": 0.5, "scope": "layer", "interval_steps": 1},
    "rounding": {
        "kind": "quantization", "window": {"start_token": 2 * BATCH, "end_token": STEPS * BATCH}, "mode": "qat",
        "weights": "int8", "granularity": "channel", "group_size": None, "activations": "none", "exclude": [],
    },
    "clipping": {
        "kind": "gradient_clipping", "window": {"start_token": 0, "end_token": STEPS * BATCH}, "clipping": "norm",
        "threshold": 0.1,
    },
    "average": {
        "kind": "ema", "window": {"start_token": BATCH, "end_token": STEPS * BATCH}, "smoothing": 0.7,
        "update_interval_steps": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("names", [("clipping", "average"), ("pruning", "rounding", "average")])
def test_beside_what_acts_on_weights_and_gradients(folder: Path, names: tuple[str, ...]) -> None:
    """The term teaches on the same steps, and changes the losses from the first of them on."""
    others = [OTHERS[name] for name in names]
    plan = taught_plan("taught", *others)
    plain = plan_of(STEPS, name="plain", algorithms=others)
    for each in (plan, plain):
        train(each, folder)
    assert taught_steps(plan, folder) == [1, 2, 3, 4, 5]
    losses = [[line["loss"] for line in metrics(each, folder)] for each in (plan, plain)]
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2:] != losses[1][2:]


def sequence(folder: Path) -> tuple[RunPlan, RunPlan]:
    """A run, and one that learns from it."""
    first = plan_of(STEPS, name="tiny-first", seed=5).model_copy(update={"run": "first"})
    said = spec(teachers=[{"run": "first", "fingerprint": first.fingerprint}])
    second = plan_of(STEPS, algorithms=[said]).model_copy(update={"run": "second", "earlier": (first,)})
    return first, second


def test_a_finished_run_teaches_the_next(folder: Path) -> None:
    """Its last checkpoint, or its average; one that is not finished is refused before anything is trained."""
    first, second = sequence(folder)
    step = next(step for step in second.steps if step.kind == "train")
    with pytest.raises(RunFailed, match="has not been trained to its end"):
        train_step.identity(step, Context(second, layout_of(second, folder)), {})
    train(first, folder)
    train(second, folder)
    assert taught_steps(second, folder) == [1, 2, 3, 4, 5]
    saved(load_trained(first, layout_of(first, folder)), folder / "exported")
    same = taught_plan("same", teachers=[{"folder": "exported"}])
    train(same, folder)
    assert [line["loss"] for line in metrics(same, folder)] == [line["loss"] for line in metrics(second, folder)]


def test_teachers_count_in_the_utilisation(folder: Path) -> None:
    """2 N_T per token, for the share of steps with a teacher; of two with `one`, the mean."""
    from runtime.teaching.teacher import flops_per_token

    size = 26_720
    for said, duty in (({}, 2 * 5 / 8), ({"sampling": "one", "every": 2}, 3 / 8), ({"probability": 0.5}, 5 / 8)):
        plan = taught_plan(**said)
        assert flops_per_token(plan, layout_of(plan, folder), STEPS) == pytest.approx(2 * size * duty)
    assert flops_per_token(plan_of(STEPS), layout_of(plan_of(STEPS), folder), STEPS) == 0
    early = taught_plan()  # three steps were done, two of them taught, by two teachers
    assert flops_per_token(early, layout_of(early, folder), 3) == pytest.approx(2 * size * 2 * 2 / 3)
    first, second = sequence(folder)
    assert flops_per_token(second, layout_of(second, folder), STEPS) == pytest.approx(2 * size * 5 / 8)
    assert first.model.num_parameters == size


def test_padding_teaches_nothing(folder: Path) -> None:
    """The term of a batch with padding is the mean over the other positions."""
    plan = taught_plan(teachers=[{"folder": "teacher"}])
    lowered = cast("DistillationAlgorithm", plan.algorithms[0])
    teacher = build_untrained(plan_of(seed=90)).eval()
    ids = torch.randint(1, 512, (2, 64), generator=torch.Generator().manual_seed(1))
    ids[:, 40:] = 0
    student = torch.randn(2, 64, 512, generator=torch.Generator().manual_seed(2))

    def term(tokens: torch.Tensor, outputs: torch.Tensor, padding: int | None) -> float:
        from composer.core import Event, Precision

        state = SimpleNamespace(
            batch={"input_ids": tokens}, outputs=outputs, precision=Precision.FP32, precision_config=None,
            loss={"total": torch.tensor(1.0)}, timestamp=SimpleNamespace(batch=1, token=BATCH),
        )  # fmt: skip
        algorithm = DistilledLoss(lowered, Gate.of(lowered, plan), [teacher], padding)
        algorithm.apply(Event.AFTER_LOSS, cast("Any", state), cast("Any", None))
        return float(state.loss["distillation"])

    # Of 40 real tokens the last one foretells padding.
    assert term(ids, student, 0) == pytest.approx(term(ids[:, :39], student[:, :39], None), rel=1e-5)
    assert term(ids, student, None) != pytest.approx(term(ids, student, 0), rel=1e-3)


def test_teachers_that_are_missing_or_do_not_fit_are_refused(folder: Path) -> None:
    """No such folder, a folder without a model, another vocabulary, too few positions: each says what to do."""

    def built(plan: RunPlan) -> None:
        distillation.build(cast("DistillationAlgorithm", plan.algorithms[0]), plan, layout_of(plan, folder))

    with pytest.raises(DataError, match="no teacher `nowhere`"):
        built(taught_plan(teachers=[{"folder": "nowhere"}]))
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="can't be loaded"):
        built(taught_plan(teachers=[{"folder": "empty"}]))
    wide = build_untrained(
        plan_of(model={"vocab_size": 640, "num_parameters": 30_816, "num_embedding_parameters": 20_480})
    )
    saved(wide, folder / "wide")
    with pytest.raises(DataError, match="has 640 tokens, the model 512"):
        built(taught_plan(teachers=[{"folder": "wide"}]))
    saved(build_untrained(plan_of(model={"max_sequence_length": 32})), folder / "short")
    with pytest.raises(DataError, match="reads 32 tokens at once, and samples have 64"):
        built(taught_plan(teachers=[{"folder": "short"}]))
    with pytest.raises(RunFailed, match="can't be had from the hub"):
        built(taught_plan(teachers=[{"hub": "nobody/nothing"}]))


def test_classifiers_learn_from_runs_and_exports(tmp_path: Path) -> None:
    """A finished run teaches, or its export; another number of classes is refused."""
    from runtime.models.model_files import write_loadable
    from tests.runtime.images import case

    first = case.plan_of(6, name="tiny-first", seed=5).model_copy(update={"run": "first"})
    case.train(first, tmp_path)
    (tmp_path / "exported").mkdir()
    write_loadable(load_trained(first, case.layout_of(first, tmp_path)), tmp_path / "exported", first)

    def taught(name: str, teacher: dict[str, Any], **changes: Any) -> RunPlan:
        window = {"start_token": 0, "end_token": 4 * 32}
        said = spec(teachers=[teacher], window=window, loss=changes.pop("loss", "kl"))
        plan = case.plan_of(6, name=name, algorithms=[said], **changes)
        return plan.model_copy(update={"run": name, "earlier": (first,)})

    record = Record(kind="train", key="a" * 64, inputs={}, seconds=1.0, reused=False, values={"status": "finished"})
    write_record(case.layout_of(first, tmp_path).step_result("train"), record)
    plans = [taught("from-run", {"run": "first"}), taught("from-folder", {"folder": "exported"})]
    for plan in plans:
        case.train(plan, tmp_path)
    lines = [case.metrics(plan, tmp_path) for plan in plans]
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]
    assert [line["step"] for line in lines[0] if "loss/distillation" in line] == [1, 2, 3, 4]

    def built(plan: RunPlan) -> None:
        distillation.build(cast("DistillationAlgorithm", plan.algorithms[0]), plan, case.layout_of(plan, tmp_path))

    wrong = taught("wrong", {"folder": "exported"}, model=case.resnet(num_classes=7))
    with pytest.raises(DataError, match="has 10 classes, the model 7"):
        built(wrong)
    (tmp_path / "exported" / "config.json").write_text("{}")
    with pytest.raises(DataError, match="not that of a resnet"):
        built(plans[1])
