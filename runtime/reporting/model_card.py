"""README.md of an exported model: what it is, of which data, how it was trained, what it was measured to do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runtime.bias.text import card_lines
from runtime.books import mix_ends
from runtime.reporting import classifier_card, lineage_card
from schemas.plan import RunPlan
from schemas.sources import SOURCE_KINDS, Source
from schemas.units import format_count, format_seconds, format_tokens

__all__ = ["model_card"]


def model_card(
    plan: RunPlan,
    *,
    trained: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    picture: str | None = None,
    bias: Mapping[str, Any] | None = None,
    small: Mapping[str, Any] | None = None,
    base: Mapping[str, str] | None = None,
) -> str:
    """The card, as Markdown with the front matter that the Hugging Face hub reads.

    Args:
        plan: what was executed.
        trained: values of the train step.
        evaluation: values of the evaluate step, if there was one.
        picture: file beside the card that shows the mix over time, if there is one.
        bias: values of the compare step, if there was one.
        small: values of the compress step, if there was one.
        base: sha256 of the files of the weights that it goes back to, by name, if it didn't begin at random.
    """
    if plan.is_classifier:
        return _classifier(plan, trained, evaluation, picture, bias, _origins(plan, small, base))
    tags = ["recipec", "causal-lm", plan.model.family]
    front = ["---", "library_name: transformers", "pipeline_tag: text-generation", f"tags: {json.dumps(tags)}", "---"]
    sections = [
        "\n".join(front),
        f"# {plan.name}",
        _introduction(plan),
        f"## Use\n\n{_use()}",
        f"## Data\n\n{_data(plan, trained, picture)}",
        f"## Model and training\n\n{_training(plan, trained)}",
        *_origins(plan, small, base),
    ]
    if evaluation is not None and evaluation["sources"]:
        sections.append(f"## Evaluation\n\n{_evaluation(evaluation)}")
    sections += _bias(bias)
    sections.append(f"## Limits\n\n{_limits()}")
    return "\n\n".join(sections) + "\n"


def _origins(plan: RunPlan, small: Mapping[str, Any] | None, base: Mapping[str, str] | None) -> list[str]:
    """The sections about what came before, and what was removed or rounded; none where there is nothing to say."""
    found = []
    if (runs := lineage_card.runs(plan)) is not None:
        pinned = [
            f"`{name}` sha256 `{digest}`" for name, digest in (base or {}).items() if name.endswith(".safetensors")
        ]
        first = f"\n\nThe weights that the first of them began with: {', '.join(pinned)}." if pinned else ""
        found.append(f"## Where it comes from\n\n{_table(*runs)}{first}")
    if small is not None:
        what = ", ".join(name.replace("_", " ") for name in small.get("techniques", {}))
        found.append(
            f"## Made smaller\n\nBy {what or 'its techniques'}:\n\n{_table(*lineage_card.compressed(small, plan.counted))}"
        )
    return found


def _bias(bias: Mapping[str, Any] | None) -> list[str]:
    """The section about classes; none without a comparison."""
    return [] if bias is None else ["## Classes\n\n" + "\n".join(card_lines(bias))]


def _classifier(
    plan: RunPlan,
    trained: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    picture: str | None,
    bias: Mapping[str, Any] | None,
    origins: Sequence[str],
) -> str:
    measured = evaluation if evaluation is not None and evaluation["sources"] else None
    classes = next(iter(measured["sources"].values()))["classes"] if measured else ()
    tags = ["recipec", "image-classification", "resnet"]
    front = ["---", "pipeline_tag: image-classification", f"tags: {json.dumps(tags)}", "---"]
    sections = [
        "\n".join(front),
        f"# {plan.name}",
        classifier_card.introduction(plan),
        f"## Use\n\n{classifier_card.use(plan, classes)}",
        f"## Data\n\n{_data(plan, trained, picture)}",
        f"## Model and training\n\n{_training(plan, trained)}",
        *origins,
    ]
    if measured:
        text = _table(*classifier_card.evaluation(measured))
        sections.append(
            f"## Evaluation\n\n{text}\n\nMeasured on images of the same sources that were held out of training."
        )
    return "\n\n".join([*sections, *_bias(bias), f"## Limits\n\n{classifier_card.limits()}"]) + "\n"


def _introduction(plan: RunPlan) -> str:
    return (
        f"A {plan.model.family} language model of {format_count(plan.model.num_parameters)} parameters, trained from "
        f"{lineage_card.origin(plan)} on {format_tokens(plan.budget.tokens)}. Made by recipec from the plan `{plan.fingerprint}`."
    )


def _use() -> str:
    return """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
```

A base model: it continues text. It has not been taught to follow instructions, to answer truthfully, or to refuse."""


def _data(plan: RunPlan, trained: Mapping[str, Any], picture: str | None) -> str:
    rows = []
    for name, source in plan.data.sources.items():
        tokens = trained.get("tokens_per_source", {}).get(name)
        planned = sum(phase.sources[name].tokens for phase in plan.data.phases if name in phase.sources)
        drawn = planned if tokens is None else tokens
        rows.append((name, _origin(source), f"{drawn:,}", f"{drawn / plan.budget.tokens:.1%}"))
    text = _table(("source", "from", f"training {plan.counted.many}", "share"), rows)
    held = f"{plan.evaluation.holdout:.2%} of each source was held out of training."
    parts = [text, _mix(plan) + held, *_order(plan)]
    if cut := sum(trained.get("truncated_tokens_per_source", {}).values()):
        parts.append(
            f"{cut:,} of the training tokens were cut off while sequences were short; the model never saw them."
        )
    if picture is not None:
        parts.append(f"![share of each source over training, planned and drawn]({picture})")
    return "\n\n".join(parts)


def _mix(plan: RunPlan) -> str:
    """How the mix changed; the pieces of a transition are one."""
    phases = plan.data.phases
    ends = mix_ends(phases)
    gradual = sum(phase.transition != "step" and phase.end_token in ends for phase in phases)
    if len(ends) == 1:
        return ""
    return f"The mix changed over {len(ends)} phases" + (f", {gradual} of them gradual. " if gradual else ". ")


def _order(plan: RunPlan) -> list[str]:
    """What was read by difficulty, a line each curriculum."""
    read: dict[str, list[str]] = {}
    for name, said in plan.data.curricula.items():
        how = "in an order by chance" if said.order == "random" else f"{said.order.replace('_', ' ')} by {said.metric}"
        scope = ", ranked together" if said.scope == "mix" else ""
        pace = f"{said.start:.3g} of it at first, {said.pacing} pacing, all of it from {said.end_token:,} tokens on"
        read.setdefault(f"{how}{scope}: {pace}.", []).append(name)
    return [f"{', '.join(names)}: read {line}" for line, names in read.items()]


def _origin(source: Source) -> str:
    """`files: src/**/*.py`, as the recipe says it."""
    kind = next(kind for kind in SOURCE_KINDS if kind in type(source).model_fields)
    value = getattr(source, kind)
    return f"{kind}: {value if isinstance(value, str) else ', '.join(value)}"


def _shape(plan: RunPlan) -> list[tuple[str, str]]:
    """Dimensions of a language model, and of its batches."""
    model, training = plan.decoder, plan.training
    grouped = "" if model.num_kv_heads == model.num_heads else f" ({model.num_kv_heads} for keys and values)"
    return [
        ("parameters", f"{model.num_parameters:,} (embedding: {model.num_embedding_parameters:,})"),
        ("layers, width, MLP width", f"{model.num_layers}, {model.hidden_size}, {model.intermediate_size}"),
        ("attention heads", f"{model.num_heads}{grouped}"),
        ("vocabulary", f"{model.vocab_size:,}"),
        ("sequence length in training", f"{plan.data.sequence_length:,}"),
        ("batch", f"{training.global_batch_samples:,} sequences, {training.global_batch_tokens:,} tokens"),
    ]


def _training(plan: RunPlan, trained: Mapping[str, Any]) -> str:
    training, optimizer, schedule = plan.training, plan.training.optimizer, plan.training.schedule
    rows = [
        *(classifier_card.rows(plan) if plan.is_classifier else _shape(plan)),
        ("optimizer steps", f"{trained.get('steps', training.steps):,}"),
        ("optimizer", f"{optimizer.kind}, weight decay {optimizer.weight_decay:g}"),
        ("betas", f"{optimizer.betas[0]:g}, {optimizer.betas[1]:g}"),
        ("peak learning rate", f"{optimizer.lr:g}"),
        (
            "schedule",
            f"{schedule.kind}, {schedule.warmup_steps:,} warm-up steps, ends at {schedule.final_fraction:g} x",
        ),
        ("precision", f"{plan.precision.compute} compute, {plan.precision.param} parameters"),
        ("techniques", ", ".join(algorithm.kind for algorithm in plan.algorithms) or "none"),
        ("seed", f"{plan.seed}"),
        ("devices", f"{trained.get('world_size', plan.hardware.count)} x {plan.hardware.gpu}"),
    ]
    if trained.get("seconds") is not None:
        rows.append(("training time", format_seconds(trained["seconds"])))
    if trained.get("loss") is not None:
        rows.append(("last training loss", f"{trained['loss']:.4f} {plan.counted.loss}"))
    return _table(("", ""), rows)


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    rows = []
    for name, source in evaluation["sources"].items():
        before, after = source["untrained"], source["trained"]
        rows.append(
            (
                name,
                f"{source['tokens']:,}",
                f"{before['perplexity']:,.4g}",
                f"{after['perplexity']:,.4g}",
                f"{after['loss']:.4f}",
                f"{after['bits_per_byte']:.4f}",
            )
        )
    head = ("held-out source", "tokens", "perplexity untrained", "trained", "nats per token", "bits per byte")
    text = _table(head, rows) + "\n\nMeasured on text of the same sources that was held out of training."
    if lost := evaluation.get("retention"):
        nats = ", ".join(f"{name} {value:+.4f}" for name, value in lost["nats"].items())
        text += f"\n\nForgotten since the start, in nats per token: {nats}; mean {lost['mean_nats']:+.4f}."
    return text


def _limits() -> str:
    return (
        "What it writes follows its data, mistakes and prejudices included, and may repeat passages of it. It was "
        "measured on held-out text alone: nothing is known of its knowledge, safety or fairness. The rights in the "
        "data decide what it may be used for; this card grants none."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a `|` or a line break in a cell would end it."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ((cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
