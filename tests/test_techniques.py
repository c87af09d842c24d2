"""No orphans, and what the plan promises of every technique: off is not listed, and what doesn't go together names both lines."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from compiler.merge import Lowered
from compiler.pipeline import Compiled
from schemas.diagnostics import Severity
from schemas.fragment import Claim
from schemas.recipe import Recipe
from schemas.techniques import TECHNIQUES
from tests.recipes import GALLERY, compile_text

ROOT = Path(__file__).parent.parent
ROOMS = {
    "schemas/techniques": ".py",
    "compiler/lowering": ".py",
    "runtime/algorithms": ".py",
    "docs/techniques": ".md",
}
SHARED = {"__init__", "base"}

SAID: Final[dict[str, tuple[str, ...]]] = {
    "sequence_length_warmup": ("{kind: sequence_length_warmup}",),
    "low_rank": ("{kind: low_rank, parameters: 0.5}",),
    "lora": ("{rank: 4}", "{rank: 4, base: nf4}"),
    "distillation": ("{teacher: models/a}", "{teacher: models/a, cache: {}}"),
    "pruning": ("{kind: pruning}", "{kind: pruning, method: structured}", "{kind: pruning, method: '2:4'}"),
    "quantization": (
        "{kind: quantization}", "{kind: quantization, mode: qat}", "{kind: quantization, mode: qat, weights: int4}",
    ),
    "gradient_clipping": ("{}", "{kind: adaptive}"),
    "ema": ("{}",),
}  # fmt: skip
"""Kind -> what a recipe may say of it, so differently that its claims or requirements differ."""

TWO_RUNS: Final = """\
name: two
model: {hidden_size: 64, num_layers: 2, num_heads: 4}
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources: {code: {builtin: cpython-library}}
budget: {tokens: 1M tok}
"""


@pytest.mark.parametrize(("room", "suffix"), ROOMS.items())
def test_every_room_has_one_file_for_each_technique(room: str, suffix: str) -> None:
    """A missing file is a technique that is accepted and does nothing; a further one is dead."""
    assert {path.stem for path in (ROOT / room).glob(f"*{suffix}")} - SHARED == set(TECHNIQUES)


@pytest.mark.parametrize("kind", TECHNIQUES)
def test_every_technique_stands_in_a_recipe_of_the_gallery(kind: str) -> None:
    """Users start from examples."""
    _, home = TECHNIQUES[kind]
    key = home.rsplit(".", 1)[-1]

    assert any(f"{key}:" in recipe.read_text(encoding="utf-8") for recipe in GALLERY)


def test_every_technique_is_in_the_table() -> None:
    """One that is added later without a row here fails."""
    assert set(SAID) == set(TECHNIQUES)


def is_list(home: str) -> bool:
    """Whether several may stand there, as in `compression`: then nothing is an empty list."""
    field: Any = Recipe.model_fields[(keys := home.split("."))[0]]
    for key in keys[1:]:
        field = field.annotation.model_fields[key]
    return isinstance(field.default, tuple)


def line(home: str, value: str, indent: str) -> str:
    """A key of the recipe in flow style, `training: {adapter: null}`."""
    outer, _, inner = home.partition(".")
    return f"{indent}{outer}: {{{inner}: {value}}}\n" if inner else f"{indent}{outer}: {value}\n"


def runs(*said: str) -> str:
    """A run, and one that starts from it; both say the same."""
    lines = "".join(said)
    return f"sequence:\n  - name: one\n{lines}  - name: two\n    model: {{start: {{run: one}}}}\n{lines}"


def switched(kind: str, *, on: str, off: str | None) -> str:
    """A recipe that lists a technique for all of its runs, which switch it off."""
    _, home = TECHNIQUES[kind]
    listed = f"[{on}]" if is_list(home) else on
    base = TWO_RUNS
    if home.startswith("data."):  # a section that the recipe has already
        base = base.replace("data:\n", f"data:\n  {home.removeprefix('data.')}: {listed}\n")
    else:
        base += line(home, listed, "")
    return base + runs() if off is None else base + runs(line(home, off, "    "))


@pytest.mark.parametrize("kind", TECHNIQUES)
def test_off_is_not_listed(kind: str, tmp_path: Path) -> None:
    """Null, or an empty list: fingerprint, resume key and every section of both runs are those of a recipe without it."""
    (on, *_), (_, home) = SAID[kind], TECHNIQUES[kind]
    never = compile_text(TWO_RUNS + runs(), tmp_path).expect()
    off = "[]" if is_list(home) else "null"
    switched_off = compile_text(switched(kind, on=on, off=off), tmp_path).expect()
    assert [one.fingerprint for one in switched_off.runs] == [one.fingerprint for one in never.runs]
    for one, other in zip(switched_off.runs, never.runs, strict=True):
        aside = {"provenance", "earlier"}  # lines move; the earlier runs are compared themselves
        assert one.model_dump(exclude=aside) == other.model_dump(exclude=aside)
        assert all(kind != spec.kind for spec in one.algorithms)
    # And it would have been heard: without `off` it is another plan, or is refused for the first run, which has no start.
    listed = compile_text(switched(kind, on=on, off=None), tmp_path)
    assert listed.plan is None or listed.plan.fingerprint != never.fingerprint


@dataclass(frozen=True)
class Choice:
    """A technique as a recipe says it; its claims and findings are those that it has alone."""

    kind: str
    said: str

    @property
    def home(self) -> str:
        """Where it stands."""
        return TECHNIQUES[self.kind][1]

    @property
    def name(self) -> str:
        """In a test's id."""
        return f"{self.kind} {self.said}"


CHOICES: Final = tuple(Choice(kind, said) for kind, rows in SAID.items() for said in rows)
PAIRS: Final = tuple(
    (one, other)
    for one, other in itertools.combinations_with_replacement(CHOICES, 2)
    # A place for one technique holds one: the second would be a duplicate key.
    if one.home != other.home or is_list(one.home)
)


def recipe_of(*choices: Choice) -> tuple[str, list[int]]:
    """The second run with these techniques, each on a line of its own; and the numbers of these lines."""
    text = TWO_RUNS + "sequence:\n  - name: one\n  - name: two\n    model: {start: {run: one}}\n"
    numbers: dict[int, int] = {}
    by_outer: dict[str, list[tuple[int, Choice]]] = {}
    for number, choice in enumerate(choices):
        by_outer.setdefault(choice.home.partition(".")[0], []).append((number, choice))
    for outer, members in by_outer.items():
        text += f"    {outer}:\n"
        opened: set[str] = set()
        for number, choice in members:
            inner = choice.home.partition(".")[2]
            indent = "      "
            if inner and is_list(choice.home) and inner not in opened:
                text += f"{indent}{inner}:\n"
                opened.add(inner)
            if is_list(choice.home):
                text += f"{indent}- {choice.said}\n" if not inner else f"{indent}  - {choice.said}\n"
            elif inner:
                text += f"{indent}{inner}: {choice.said}\n"
            else:
                text = text.removesuffix(f"{outer}:\n") + f"{outer}: {choice.said}\n"
            numbers[number] = text.count("\n")
    return text, [numbers[number] for number in range(len(choices))]


class Alone:
    """Each choice compiled by itself, once: what it claims, and what is wrong with it without any other."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._found = folder, dict[Choice, tuple[tuple[Claim, ...], frozenset[str]]]()
        self._parts: tuple[Lowered, ...] = ()
        module = importlib.import_module("compiler.passes.techniques")
        original = module.conflicts

        def seen(draft: Any, parts: tuple[Lowered, ...]) -> Any:
            self._parts = parts
            return original(draft, parts)

        patch.setattr(module, "conflicts", seen)

    def of(self, choice: Choice) -> tuple[tuple[Claim, ...], frozenset[str]]:
        """Claims, and messages of errors."""
        if choice not in self._found:
            found = compile_text(recipe_of(choice)[0], self._folder)
            claims = [claim for part in self._parts if part.kind == choice.kind for claim in part.fragment.claims]
            self._found[choice] = (tuple(claims), frozenset(error.message for error in errors(found)))
        return self._found[choice]


def errors(compiled: Compiled) -> list[Any]:
    """Findings that leave no plan."""
    return [finding for finding in compiled.findings if finding.severity is Severity.ERROR]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """Choices by themselves."""
    with pytest.MonkeyPatch.context() as patch:
        yield Alone(tmp_path_factory.mktemp("alone"), patch)


def overlap(one: Claim, other: Claim) -> bool:
    """Two claims on one slot, or on a slot and a part of it, that are not both shared."""
    a, b = one.slot.split("."), other.slot.split(".")
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter] and not (one.shared and other.shared)


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda choice: choice.name)
def test_what_does_not_go_together_names_both_lines(one: Choice, other: Choice, alone: Alone, tmp_path: Path) -> None:
    """Exactly the pairs whose claims clash are refused for it; any other error that needs both shows both lines, too."""
    (claims, wrong), (others, also_wrong) = alone.of(one), alone.of(other)
    clash = any(overlap(a, b) for a in claims for b in others)
    text, lines = recipe_of(one, other)
    found = [error for error in errors(compile_text(text, tmp_path)) if error.message not in wrong | also_wrong]
    assert sum(error.code == "RC202" for error in found) == int(clash)
    for error in found:
        assert error.help
        assert {error.span.line, *(related.span.line for related in error.related)} == set(lines), error.message


def test_some_pairs_clash_and_most_compose(alone: Alone) -> None:
    """What the test above goes over holds both: no choice is wrong by itself, each kind of a list clashes with itself."""
    assert not any(alone.of(choice)[1] for choice in CHOICES)
    clashes = {
        frozenset((one.kind, other.kind))
        for one, other in PAIRS
        if any(overlap(a, b) for a in alone.of(one)[0] for b in alone.of(other)[0])
    }
    listed = {frozenset((kind,)) for kind, (_, home) in TECHNIQUES.items() if is_list(home)}
    assert listed | {frozenset(("lora", "pruning")), frozenset(("lora", "low_rank"))} <= clashes
    assert 2 * len(clashes) < len({frozenset((one.kind, other.kind)) for one, other in PAIRS})
