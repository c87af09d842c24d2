"""From a tree to a `Recipe`: all findings at once, at the right place, and as much of the recipe as can be saved."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.frontend.language import homes, site
from compiler.frontend.renamed import GONE, RENAMED
from compiler.frontend.resolve import resolve
from compiler.frontend.spans import RecipeError, parse_path
from compiler.frontend.tree import Plain
from compiler.frontend.validate import Checked, validate
from compiler.render.diagnostics import render
from schemas.diagnostics import Diagnostic

BASE = """\
name: base
seed: 3
variables: {rate: 3e-4}
model: {family: llama, size: 1M}
data:
  sequence_length: 128
  sources:
    docs: {files: docs/**/*.md, tokens: 1M tok}
    code: {jsonl: [a.jsonl, b.jsonl], text: body}
  mixture:
    - {from: 0dur, weights: {docs: 0.75, code: 25%}}
    - {from: 0.5dur, weights: {docs: 0.5, code: 0.5}}
  curriculum: {kind: sequence_length_warmup, duration: 0.2dur}
budget:
  tokens: 2M tok
  inference: {requests: 1M}
training:
  batch: 4096
  optimizer: {kind: adamw, lr: "${rate}", betas: [0.9, 0.95]}
  duration: 100ba
precision: fp32
compression: [{kind: pruning, sparsity: 0.5}]
evaluation: {prompts: ["def main(", "Once"]}
launch: {slurm: {time: 3h}}
"""


def check(folder: Path, text: str, *overrides: str) -> Checked:
    """Validate a recipe given as text."""
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return validate(resolve(path, overrides))


def only(checked: Checked) -> Diagnostic:
    """The one finding."""
    (finding,) = checked.diagnostics
    return finding


def test_a_good_recipe_has_no_findings(tmp_path: Path) -> None:
    """Every kind of value that the language has is read, and nothing is cut out."""
    checked = check(tmp_path, BASE)
    assert checked.diagnostics == ()
    assert checked.pruned == frozenset()
    assert checked.recipe is not None
    assert checked.recipe.training.optimizer.lr == 3e-4
    assert checked.recipe.precision.compute == "fp32"


@pytest.mark.parametrize(
    ("override", "code", "help_"),
    [
        ("training.optimizer.lrr=3e-4", "RC101", "lr: 3e-4"),
        ("lr=0.1", "RC101", "write `lr: 0.1` under `training.optimizer:`"),
        ("learning_rate=0.1", "RC108", "write `lr: 0.1` under `training.optimizer:`"),
        # A batch of 32 samples elsewhere is no batch of 32 tokens here: the value is not carried over.
        ("batch_size=32", "RC108", "write `batch: 0.5M tok` under `training:`"),
        ('training.optimizer.lr="3e-4"', "RC103", "lr: 3e-4"),
        ("training.compile=on", "RC103", "compile: true"),
        ("data.sources.docs.files=7", "RC103", 'files: "7"'),
        ("model=gpt2", "RC103", "model: {family: gpt2}"),
        ("data.mixture[0].weights.docs=75", "RC104", "docs: 0.75"),
        ("training.optimizer.betas=[0.9]", "RC102", "betas: [0.9, 0.95]"),
        ("precision=b16", "RC105", "precision: bf16"),
        ("training.optimizer.kind=ADAMW", "RC105", "kind: adamw"),
        ("budget.tokens=8h", "RC106", "tokens: 300B tok"),
        ("model.size=big", "RC106", "size: 7B"),
        ('name="my run"', "RC107", "name: my-run"),
        ("budget.flops=1e20", "RC201", "delete one of the two lines"),
        ("data.sources.docs.file=x", "RC101", "files: x"),
    ],
)
def test_the_help_is_the_line_to_write(tmp_path: Path, override: str, code: str, help_: str) -> None:
    """One wrong value is one finding, with its code and the mended line."""
    finding = only(check(tmp_path, BASE, override))
    assert (finding.code, finding.help) == (code, help_)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.optimizer.lr=-1", "must be greater than 0 and at most 10; found `-1`"),
        ("training.optimizer.lr=.nan", "must be a finite number"),
        ("seed=99999999999", "must be at least 0 and less than 2147483648"),
        ("launch.slurm.time=3", "takes a length of time; found `3`"),
        ("data.sources.docs.sha256=x", "takes 64 hexadecimal digits"),
        ("evaluation.max_new_tokens=1.5", "takes a whole number; found `1.5`"),
        ("launch.slurm.time=3h", "found nothing"),
        ("evaluation.prompts=[]", "found nothing"),
    ],
)
def test_messages_say_what_is_expected_and_what_was_found(tmp_path: Path, override: str, says: str) -> None:
    """The range, the kind and the value are in the message; good values have none."""
    checked = check(tmp_path, BASE, override)
    if says == "found nothing":
        assert checked.diagnostics == ()
    else:
        assert says in only(checked).message


def test_findings_are_sorted_and_not_repeated(tmp_path: Path) -> None:
    """All errors of all kinds come at once, by line and column, one for each place."""
    text = (
        "zzz: 1\nname: a b\nmodel: {size: 7X, hidden_size: x}\nhardware: {count: 0}\ndata: {sources: {a: {files: 3}}}\n"
    )
    found = [
        (d.code, d.span.line if d.span else 0, d.span.column if d.span else 0)
        for d in check(tmp_path, text).diagnostics
    ]
    assert found == [
        ("RC101", 1, 1), ("RC107", 2, 7), ("RC106", 3, 15), ("RC103", 3, 32), ("RC104", 4, 19), ("RC103", 5, 29),
    ]  # fmt: skip


def test_one_error_does_not_hide_another(tmp_path: Path) -> None:
    """Rules about two values run once the wrong third one is cut out."""
    checked = check(tmp_path, BASE, "budget.max_cost=3 EUR", "budget.flops=1e20", "training.duration=0.5dur", "seed=x")
    assert [finding.code for finding in checked.diagnostics] == ["RC106", "RC201", "RC104", "RC103"]


def test_what_is_left_is_a_recipe(tmp_path: Path) -> None:
    """Later passes get everything that was right, and know what was cut out."""
    checked = check(
        tmp_path, BASE, "name=a/b", "training.optimizer.lr=fast", "data.mixture[1].weights.docs=x", "typo=1"
    )
    assert checked.recipe is not None
    assert checked.recipe.name == "unnamed"
    assert checked.recipe.training.optimizer.lr is None
    assert checked.recipe.training.optimizer.betas == (0.9, 0.95)
    assert checked.recipe.data.mixture == ()
    assert checked.pruned == {("name",), ("training", "optimizer", "lr"), ("data", "mixture"), ("typo",)}
    assert checked.touched("data", "mixture", 0)
    assert checked.touched("training")
    assert not checked.touched("data", "sources")


def test_cutting_out_makes_no_echoes(tmp_path: Path) -> None:
    """The only source is wrong: that is the finding, not that there are no sources and so no data."""
    checked = check(tmp_path, "name: a\ndata: {sources: {a: {file: 3, tokens: x}}}\n")
    assert [finding.code for finding in checked.diagnostics] == ["RC101"]
    assert checked.recipe is None


def test_findings_of_reading_and_of_checking_come_together(tmp_path: Path) -> None:
    """Doubled keys, unknown variables and warnings stand among the others, and what they broke is not judged again."""
    text = BASE.replace('"${rate}"', '"${rat}"') + "seed: 4\nlaunch: !!map {}\nfoo: {a: '${x}'}\n"
    checked = check(tmp_path, text)
    assert [finding.code for finding in checked.diagnostics] == [
        "RC008", "RC008", "RC005", "RC005", "RC006", "RC101", "RC008",
    ]  # fmt: skip
    assert checked.has_errors
    assert checked.recipe is not None


def test_a_wrong_value_of_a_variable_shows_both_places(tmp_path: Path) -> None:
    """The finding is at the use; where the variable was given stands beside it."""
    finding = only(check(tmp_path, BASE, "variables.rate=fast"))
    assert str(finding.span) == "recipe.yaml:19:32"
    assert [str(other.span) for other in finding.related] == ["--set:1:16"]


def test_names_from_other_trainers_lead_to_keys_that_exist() -> None:
    """No advice of the table is stale, and none stands in the way of a key of ours at the top level."""
    paths = {path for found in homes().values() for path in found} | {"extends", "variables", "sequence"}
    assert set(RENAMED.values()) <= paths
    assert not (set(RENAMED) | set(GONE)) & paths


def test_locations_lose_the_tags_of_unions() -> None:
    """Paths are those of the recipe, not of pydantic's unions."""
    tagged = site(("data", "sources", "a", "files", "files", "tuple[constrained-str, ...]", 1))
    assert tagged.path == ("data", "sources", "a", "files", 1)
    assert site(("data", "sources", "a", "jsonl", "text")).path == ("data", "sources", "a", "text")


def test_ten_thousand_errors_are_no_problem(tmp_path: Path) -> None:
    """A list of nonsense is cut off, not shown without end."""
    checked = check(tmp_path, BASE + "checkpoints: {" + ", ".join(f"k{i}: 1" for i in range(10_000)) + "}\n")
    assert 0 < len(checked.diagnostics) <= 10_000


# ---- no recipe makes the front end raise anything but its own error

_ODD = st.sampled_from(
    [
        "", "null", "~", "[]", "{}", "-1", "1e999", ".nan", "-.inf", "9" * 400, "0x" + "f" * 400, "true", "7B", "8h",
        "300B tok", "1e-999999999dur", "0.5dur", "$60k", "50%", "s3://a/b", "../../etc", "a b; $(id)", "x" * 300,
        "'a\\b'", '"\\0"', '"\\x1b[31m"', "!!python/object:os.system x", "&a", "*a", "<<: {}", "${rate}", "${", "$${x}",
        "日本", "[[[[[[", "}", "- - -", "? a", "|", "---", "...", "\t", "#", "\u202e", "\x00", "{a: {a: {a: 1}}}",
        "[1, a]",
    ]
)  # fmt: skip
_PARTS = BASE.replace("\n", " \n ").split(" ")


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    """The base recipe with words dropped, doubled, swapped or replaced."""
    parts = list(_PARTS)
    for _ in range(draw(st.integers(1, 4))):
        here = draw(st.integers(0, len(parts) - 1))
        match draw(st.sampled_from(["drop", "double", "swap", "replace", "insert", "join"])):
            case "drop":
                del parts[here]
            case "double":
                parts.insert(here, parts[here])
            case "swap":
                there = draw(st.integers(0, len(parts) - 1))
                parts[here], parts[there] = parts[there], parts[here]
            case "replace":
                parts[here] = draw(_ODD)
            case "insert":
                parts.insert(here, draw(st.text(max_size=4)))
            case _:
                parts[here] = parts[here].replace(":", "")
    return " ".join(parts).replace(" \n ", "\n")


def _outcome(path: Path, *overrides: str) -> None:
    """A recipe without errors, or findings that all formats can show."""
    try:
        checked = validate(resolve(path, overrides))
        found, spans = checked.diagnostics, checked.resolved.spans
        assert checked.recipe is not None or checked.has_errors
    except RecipeError as error:
        found, spans = error.diagnostics, error.spans
        assert found
    for finding in found:
        if finding.path:
            parse_path(finding.path)
    for kind in ("text", "json", "github"):
        text = render(found, spans, kind, color=False, width=60)
        assert all(char == "\n" or char >= " " for char in text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(text=_mutated())
def test_mutated_recipes_give_a_recipe_or_findings(tmp_path: Path, text: str) -> None:
    """Dropped, doubled, swapped and replaced words never give a traceback."""
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    _outcome(path)


_PLAIN: st.SearchStrategy[Plain] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["7B", "0.5dur", "8h"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*homes(), "x", "", "a b"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def _yaml(value: Plain) -> str:
    """Flow style; JSON but for numbers that JSON doesn't have."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf"
    return "null" if value is None else str(value).lower()


_PATHS = sorted({path.replace("<name>", "docs").replace("[]", "[0]") for found in homes().values() for path in found})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(path=st.sampled_from(_PATHS), value=_PLAIN)
def test_any_value_at_any_key_gives_a_recipe_or_findings(tmp_path: Path, path: str, value: Plain) -> None:
    """Every key of the language survives values of every type and size."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(BASE, encoding="utf-8")
    _outcome(recipe, f"{path}={_yaml(value)}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(content=st.binary(max_size=80), override=st.text(max_size=20))
def test_random_bytes_give_findings(tmp_path: Path, content: bytes, override: str) -> None:
    """Bytes that are no text, and overrides that are no paths, never give a traceback."""
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    _outcome(path, override)
    path.write_text(BASE, encoding="utf-8")
    _outcome(path, override)
