"""Reading recipe files: places, values, and every kind of text that is no recipe."""

from __future__ import annotations

import contextlib
import math
import os
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.frontend.load import MAX_BYTES, Document, load
from compiler.frontend.spans import RecipeError, SpanIndex, format_path, parse_path
from compiler.frontend.tree import PathKey
from compiler.frontend.yaml_errors import ReadError
from compiler.frontend.yaml_in import Locator, parse
from schemas.diagnostics import Diagnostic


def read(folder: Path, content: str | bytes) -> Document:
    """Load a recipe given as text or bytes."""
    path = folder / "recipe.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load(path, "recipe.yaml", str(path))


def failure(folder: Path, content: str | bytes) -> Diagnostic:
    """The one finding of a text that can't be read."""
    with pytest.raises(RecipeError) as caught:
        read(folder, content)
    (finding,) = caught.value.diagnostics
    return finding


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17", 17), ("-3", -3), ("1_000_000", 1_000_000), ("0x1F", 31), ("0o17", 15), ("010", 10),
        ("3e-4", 3e-4), ("1e6", 1e6), (".5", 0.5), ("5.", 5.0), ("1E+2", 100.0),
        ("true", True), ("False", False), ("yes", "yes"), ("on", "on"), ("null", None),
        ("~", None), ("", None),
        ("2024-01-01", "2024-01-01"), ("1:30", "1:30"),
        ("7B", "7B"), ("$60k", "$60k"), ("\u0663", "\u0663"), ("1_", "1_"), ("0b1", "0b1"),
        ("'17'", "17"), ('"true"', "true"), ('"a\\nb"', "a\nb"), ("'it''s'", "it's"), ("s3://a/b", "s3://a/b"),
        ("|\n  two\n  lines", "two\nlines\n"), ("[1, [a]]", [1, ["a"]]), ("{b: {c: 1}}", {"b": {"c": 1}}),
    ],
)  # fmt: skip
def test_values_follow_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    """Numbers, booleans and null are those of YAML 1.2's core schema; dates, times and `yes` are text."""
    assert read(tmp_path, f"a: {text}\n").root.plain() == {"a": value}


def test_endless_and_huge_numbers_are_read_as_not_finite(tmp_path: Path) -> None:
    """A number too long for Python's own int() is no crash: it is infinite, which every type refuses."""
    plain = read(tmp_path, f"a: [.inf, -.inf, 1e999, {'9' * 5000}, 0x{'f' * 5000}, .nan]\n").root.plain()
    assert isinstance(plain, dict)
    values = plain["a"]
    assert isinstance(values, list)
    assert values[:5] == [math.inf, -math.inf, math.inf, math.inf, math.inf]
    assert isinstance(values[5], float)
    assert math.isnan(values[5])


def test_every_value_and_key_has_its_place(tmp_path: Path) -> None:
    """Lines and columns count from 1, the end is exclusive, and wide characters are one column each."""
    index = SpanIndex(read(tmp_path, 'a: 1\r\n"ключ":   "日本" # c\r\nb:\n  - {x: [7, 8]}\n  - |\n    text\n').root)
    assert str(index.value("a")) == "recipe.yaml:1:4"
    key, value = index.key("ключ"), index.value("ключ")
    assert key is not None
    assert value is not None
    assert (key.line, key.column, key.end_column) == (2, 1, 7)
    assert (value.line, value.column, value.end_column) == (2, 11, 15)
    assert str(index.value("b", 0, "x", 1)) == "recipe.yaml:4:13"
    assert str(index.key("b", 0, "x")) == "recipe.yaml:4:6"
    assert str(index.value("b", 1)) == "recipe.yaml:5:5"
    assert index.key("b", 0) is None
    assert index.value("b", 2) is None
    assert index.value("a", "deeper") is None
    assert str(index.nearest("b", 0, "nothing", "here")) == "recipe.yaml:4:5"
    assert str(index.nearest("nothing")) == "recipe.yaml:1:1"


def test_an_alias_has_the_place_of_its_anchor(tmp_path: Path) -> None:
    """Each use of an alias is a value of its own: placed where it is used, and what is in it where that was written."""
    root = read(tmp_path, "a: &x {b: 1}\nc: *x\n").root
    assert root.plain() == {"a": {"b": 1}, "c": {"b": 1}}
    assert str(SpanIndex(root).value("c", "b")) == "recipe.yaml:1:11"
    assert str(SpanIndex(root).value("c")) == "recipe.yaml:2:4"
    assert str(SpanIndex(root).defined("c")) == "recipe.yaml:1:4"


@pytest.mark.parametrize(
    ("content", "code", "place"),
    [
        (b"", "RC010", None),
        (b"# only a comment\n", "RC010", None),
        (b"---\n", "RC010", None),
        (b"- a\n- b\n", "RC010", "1:1"),
        (b"just text\n", "RC010", "1:1"),
        (b"a: 1\nb: caf\xe9\n", "RC003", "2:7"),
        ("a: 1\n".encode("utf-16"), "RC003", "1:1"),
        (b"a: 1\nb: \x00\n", "RC003", "2:4"),
        (b"a: \x1b[31m\n", "RC002", "1:4"),
        (b"a:\n\t- 1\n", "RC002", "2:1"),
        (b"a: b: c\n", "RC002", "1:5"),
        (b"a: [1, 2\nb: 3\n", "RC002", "1:4"),
        (b"a: 'open\n", "RC002", "1:4"),
        (b"a: @x\n", "RC002", "1:4"),
        (b"a: *nowhere\n", "RC002", "1:4"),
        (b'a: "\\q"\n', "RC002", "1:6"),
        (b'a: "\\ud800"\n', "RC002", "1:4"),
        (b'a: "\\U00110000"\n', "RC002", "1:2"),
        (b"{a: 1}}\n", "RC002", "1:7"),
        (b"a:\n  b: 1\n c: 2\n", "RC002", "3:2"),
        (b"%YAML 9.9\n---\na: 1\n", "RC002", "1:1"),
        (b"a: {b: ${c}}\n", "RC002", "1:8"),
        (b"a: 1\n---\nb: 2\n", "RC006", "2:1"),
        (b"a: &x [*x]\n", "RC004", "1:8"),
        (b"a: " + b"[" * 900_000, "RC004", "1:67"),
        (b"a: " + b"{a: " * 1000, "RC004", "1:253"),
        (b"a: [" + b"x, " * 110_000 + b"]", "RC004", "1:299996"),
        (b"a: " + b"x" * MAX_BYTES, "RC004", None),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_place(
    tmp_path: Path, content: bytes, code: str, place: str | None
) -> None:
    """Whatever the bytes are, there is one finding with a code and a place, never another exception."""
    finding = failure(tmp_path, content)
    assert finding.code == code
    assert finding.span is None if place is None else str(finding.span) == f"recipe.yaml:{place}"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    """Editors on Windows write one; columns don't count it."""
    root = read(tmp_path, "\ufeffa: 1\n").root
    assert root.plain() == {"a": 1}
    assert str(SpanIndex(root).key("a")) == "recipe.yaml:1:1"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "nul", "long"])
def test_a_path_without_a_recipe(tmp_path: Path, kind: str) -> None:
    """Missing files, folders, pipes (which would block) and impossible paths are RC001."""
    path = {"folder": tmp_path, "nul": Path("a\0b"), "long": tmp_path / ("x" * 300)}.get(kind, tmp_path / "x.yaml")
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(RecipeError) as caught:
        load(path, "x.yaml", str(path))
    assert [finding.code for finding in caught.value.diagnostics] == ["RC001"]


@pytest.mark.parametrize("char", ["\x85", "\u2028", "\u2029"])
def test_line_ends_that_only_old_yaml_has_are_refused(tmp_path: Path, char: str) -> None:
    """No editor shows them as line ends: a comment with one would go on as a key on a line that nobody sees."""
    finding = failure(tmp_path, f"name: a\n# copied {char}text\nseed: 3\n")

    assert finding.code == "RC002"
    assert finding.span is not None
    assert (finding.span.line, finding.span.column) == (2, 10)
    escape = finding.help.partition('"')[2].partition('"')[0]
    assert read(tmp_path, f'name: "{escape}"\n').root.plain() == {"name": char}


def test_a_path_of_any_length_is_shown_in_a_line(tmp_path: Path) -> None:
    """4000 characters of a path would hide what is said of it."""
    path = tmp_path / ("x/" * 1000)
    with pytest.raises(RecipeError) as caught:
        load(path, "recipe.yaml", str(path))

    assert len(caught.value.diagnostics[0].message) < 200


def test_aliases_of_aliases_cost_nothing(tmp_path: Path) -> None:
    """10^20 values in 20 lines are refused within a second and a few megabytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    tracemalloc.start()
    start = time.perf_counter()
    finding = failure(tmp_path, "\n".join(lines))
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert finding.code == "RC004"
    assert seconds < 1.0
    assert peak < 5_000_000


def test_what_can_be_read_past_is_reported_and_read_past(tmp_path: Path) -> None:
    """Tags, doubled keys, merge keys and keys that are no text leave a tree to check further."""
    text = "a: 1\na: 2\nb: !!str 3\n7: x\nc: {<<: {d: 1}, e: 2}\n? [f]\n: 1\ng: 4\n"
    document = read(tmp_path, text)
    assert document.root.plain() == {"a": 1, "b": 3, "7": "x", "c": {"e": 2}, "g": 4}
    found = [(f.span.line if f.span else 0, f.code) for f in document.diagnostics]
    assert found == [(2, "RC005"), (3, "RC006"), (4, "RC006"), (5, "RC006"), (6, "RC006")]
    assert document.diagnostics[0].related[0].span.line == 1


def test_no_tag_builds_an_object(tmp_path: Path) -> None:
    """A tag that would run a command in unsafe readers is a finding, and nothing is run."""
    marker = tmp_path / "owned"
    document = read(tmp_path, f'a: !!python/object/apply:os.system ["touch {marker}"]\n')
    assert [finding.code for finding in document.diagnostics] == ["RC006"]
    assert not marker.exists()


@given(st.text(alphabet=st.sampled_from("ab:-[]{}#&*!|>'\"%@`?,<. \n\t\\$01eE~éx"), max_size=60))
def test_any_text_gives_a_tree_or_a_finding(text: str) -> None:
    """No text makes the reader raise anything but its own error."""
    with contextlib.suppress(ReadError):
        parse(text, Locator("x", text))


_KEYS = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["data", "web.v2", "a b", '"', "\\", "0"]))


@given(st.lists(st.one_of(_KEYS, st.integers(0, 99_999)), min_size=1, max_size=5).map(tuple))
def test_paths_survive_their_text(path: PathKey) -> None:
    """`parse_path` is the inverse of `format_path`, whatever the keys are."""
    assert parse_path(format_path(path)) == path


def test_paths_are_written_as_people_write_them() -> None:
    """Words are dotted, items are indexed, other keys are quoted; nonsense is no path."""
    assert format_path(("data", "mixture", 0, "weights", "web.v2")) == 'data.mixture[0].weights["web.v2"]'
    assert parse_path("data.sources.0.files") == ("data", "sources", "0", "files")
    for wrong in ("", ".a", "a..b", "a.", "a[b]", "a=b", "a b"):
        with pytest.raises(ValueError, match="not a path"):
            parse_path(wrong)
