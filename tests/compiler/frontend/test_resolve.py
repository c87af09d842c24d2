"""`extends:`, `variables:` and `--set`: which line wins, and that it keeps its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compiler.frontend.resolve import Resolved, resolve
from compiler.frontend.spans import RecipeError


def write(folder: Path, **files: str) -> Path:
    """Write recipes as `<name>.yaml`; `main` is the one to resolve."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / "main.yaml"


def codes(resolved: Resolved) -> list[tuple[str, str]]:
    """Code and place of every finding."""
    return [(finding.code, str(finding.span)) for finding in resolved.diagnostics]


def refused(path: Path, *overrides: str) -> list[tuple[str, str]]:
    """Code and place of what stopped the reading."""
    with pytest.raises(RecipeError) as caught:
        resolve(path, overrides)
    return [(finding.code, str(finding.span)) for finding in caught.value.diagnostics]


def test_mappings_merge_lists_and_values_replace(tmp_path: Path) -> None:
    """A base gives what the recipe doesn't say; each value keeps the place of the line that won."""
    main = write(
        tmp_path,
        base="a: {x: 1, y: 2, l: [1, 2]}\nb: 3\n",
        main="extends: base.yaml\na:\n  y: 20\n  l: [3]\nc: 4\n",
    )
    resolved = resolve(main)
    assert resolved.tree == {"a": {"x": 1, "y": 20, "l": [3]}, "b": 3, "c": 4}
    assert str(resolved.spans.value("a", "x")) == "base.yaml:1:8"
    assert str(resolved.spans.value("a", "y")) == "main.yaml:3:6"
    assert str(resolved.spans.key("a", "y")) == "main.yaml:3:3"
    assert resolved.files == (main, tmp_path / "base.yaml")
    assert not resolved.diagnostics


def test_null_takes_an_inherited_key_away(tmp_path: Path) -> None:
    """It removes the key from every base; where nothing is inherited, null stays for the types to judge."""
    main = write(tmp_path, one="a: 1\nb: 1\n", two="a: 2\n", main="extends: [one.yaml, two.yaml]\na: null\nz:\n")
    assert resolve(main).tree == {"b": 1, "z": None}


def test_later_bases_win_and_the_recipe_wins_over_all(tmp_path: Path) -> None:
    """Bases are read in their order, chains of them too, each relative to the file that names it."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "root.yaml").write_text("a: 0\nb: 0\nc: 0\nd: 0\n")
    (tmp_path / "deep" / "one.yaml").write_text("extends: root.yaml\nb: 1\nc: 1\nd: 1\n")
    main = write(tmp_path, two="c: 2\nd: 2\n", main="extends: [deep/one.yaml, two.yaml]\nd: 3\n")
    resolved = resolve(main)
    assert resolved.tree == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert str(resolved.spans.value("a")) == "deep/root.yaml:1:4"


def test_places_say_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named relative to the recipe; only the renderer's path leads there from the current folder."""
    (tmp_path / "job").mkdir()
    write(tmp_path, base="a: 1\n")
    (tmp_path / "job" / "main.yaml").write_text(f"extends: {tmp_path}/base.yaml\nb: 1\n")
    monkeypatch.chdir(tmp_path)
    for path in (Path("job/main.yaml"), tmp_path / "job" / "main.yaml"):
        spans = resolve(path).spans
        assert str(spans.value("a")) == "../base.yaml:1:4"
        assert os.path.samefile(spans.display("../base.yaml"), "base.yaml")
        assert spans.display("main.yaml") == str(path)


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"main": "extends: main.yaml\n"}, "main.yaml:1:10"),
        ({"main": "extends: a.yaml\n", "a": "extends: b.yaml\n", "b": "x: 1\nextends: [a.yaml]\n"}, "b.yaml:2:11"),
        ({"main": "extends: none.yaml\n"}, "main.yaml:1:10"),
        ({"main": "extends: .\n"}, "main.yaml:1:10"),
        ({"main": "extends: 3\n"}, "main.yaml:1:10"),
        ({"main": "extends: [{a: b}]\n"}, "main.yaml:1:11"),
        ({"main": 'extends: "a\\0b"\n'}, "main.yaml:1:10"),
    ],
)
def test_extends_that_leads_nowhere_or_in_a_circle(tmp_path: Path, files: dict[str, str], place: str) -> None:
    """RC007 stands at the line that names the recipe."""
    assert refused(write(tmp_path, **files)) == [("RC007", place)]


def test_a_circle_is_shown_as_a_chain(tmp_path: Path) -> None:
    """The message names the files in the order in which they were read."""
    main = write(tmp_path, main="extends: a.yaml\n", a="extends: main.yaml\n")
    with pytest.raises(RecipeError, match=r"main\.yaml -> a\.yaml -> main\.yaml"):
        resolve(main)


def test_an_error_inside_a_base_is_shown_in_the_base(tmp_path: Path) -> None:
    """Its lines are at hand for the renderer."""
    main = write(tmp_path, main="extends: base.yaml\n", base="a: [1\n")
    with pytest.raises(RecipeError) as caught:
        resolve(main)
    assert [str(finding.span) for finding in caught.value.diagnostics] == ["base.yaml:1:4"]
    assert caught.value.spans.texts["base.yaml"][0] == "a: [1"


def test_variables_keep_their_type_and_show_their_place(tmp_path: Path) -> None:
    """A whole value keeps its type; inside a text the number stands as it was written."""
    main = write(
        tmp_path,
        main="variables:\n  n: 0.10\n  l: [1, '${n}']\n  s: x-${n}\na: ${n}\nb: ${l}\nc: ${s}/${ n }B\nd: $${n} $n $\n",
    )
    resolved = resolve(main)
    assert resolved.tree == {"a": 0.1, "b": [1, 0.1], "c": "x-0.10/0.10B", "d": "${n} $n $"}
    assert str(resolved.spans.value("a")) == "main.yaml:5:4"
    assert str(resolved.spans.defined("a")) == "main.yaml:2:6"
    assert resolved.spans.defined("c") is None
    assert not resolved.diagnostics


def test_a_recipe_can_change_the_variables_of_its_base(tmp_path: Path) -> None:
    """Variables merge first and are put in last; those that only the base uses are no warning."""
    main = write(
        tmp_path,
        base="variables: {n: 1, only_here: 2}\na: ${n}\nb: ${only_here}\n",
        main="extends: base.yaml\nvariables: {n: 5}\n",
    )
    resolved = resolve(main)
    assert resolved.tree == {"a": 5, "b": 2}
    assert not resolved.diagnostics


def test_wrong_variables_are_found_all_at_once(tmp_path: Path) -> None:
    """Unknown, circular, unclosed and unused ones; the values that used them are marked as broken."""
    main = write(
        tmp_path,
        main="variables:\n  a: ${b}\n  b: ${a}\n  unused: 1\nx: ${typo}\ny: ${a}\nz: '${open'\nok: 1\n",
    )
    resolved = resolve(main)
    assert codes(resolved) == [
        ("RC008", "main.yaml:3:6"),
        ("RC008", "main.yaml:4:3"),
        ("RC008", "main.yaml:5:4"),
        ("RC008", "main.yaml:7:4"),
    ]
    assert resolved.broken == {("x",), ("y",), ("z",)}


def _growing(first: str, template: str, steps: int) -> str:
    """Variables `v0`, `v1`, ... each made of the one before, as `template` says with `@`."""
    lines = [f"  v{i}: {template.replace('@', '${v' + str(i - 1) + '}')}" for i in range(1, steps)]
    return "\n".join(["variables:", f"  v0: {first}", *lines, f"a: ${{v{steps - 1}}}", ""])


@pytest.mark.parametrize(
    "text",
    [
        _growing("xxxxxxxxxx", "'" + "@" * 10 + "'", 12),
        _growing("[x, x, x, x]", "[" + ", ".join(["'@'"] * 10) + "]", 12),
        _growing("x", "['@']", 500),
        _growing("x", "'@'", 500),
    ],
    ids=["text", "list", "deep", "chain"],
)
def test_variables_of_variables_do_not_explode(tmp_path: Path, text: str) -> None:
    """Texts, lists and chains that grow with every step are stopped by the limits of a recipe."""
    main = write(tmp_path, main=text)
    try:
        found = {finding.code for finding in resolve(main).diagnostics}
    except RecipeError as error:
        found = {finding.code for finding in error.diagnostics}
    assert found & {"RC004", "RC008"}


def test_overrides_are_typed_and_have_the_last_word(tmp_path: Path) -> None:
    """Values are YAML; the place is the column in the override's own text, its line the number of the override."""
    main = write(tmp_path, main="a: {b: 1, l: [{w: 1}, {w: 2}]}\nv: text\n")
    resolved = resolve(main, ["a.b=3e-4", "a.l[1].w=[x, 2]", "new.key=yes", "v=null", 'a["odd key"]='])
    assert resolved.tree == {"a": {"b": 3e-4, "l": [{"w": 1}, {"w": ["x", 2]}], "odd key": None}, "new": {"key": "yes"}}
    value, key = resolved.spans.value("a", "b"), resolved.spans.key("a", "b")
    assert str(value) == "--set:1:5"
    assert str(key) == "--set:1:3"
    assert value is not None
    assert resolved.spans.source(value) == "3e-4"
    assert str(resolved.spans.value("a", "l", 1, "w", 1)) == "--set:2:14"
    assert str(resolved.spans.value("a", "l", 0, "w")) == "main.yaml:1:19"
    assert resolved.spans.texts["--set"][2] == "new.key=yes"


def test_overrides_set_variables_and_use_them(tmp_path: Path) -> None:
    """They are put in before variables are."""
    main = write(tmp_path, main="variables: {n: 1}\na: ${n}\nb: 0\n")
    assert resolve(main, ["variables.n=2", "b=${n}"]).tree == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("override", "code", "column"),
    [
        ("a.b", "RC009", 1), ("=3", "RC009", 1), ("a b=3", "RC009", 1), ("a..b=3", "RC009", 1), ("", "RC009", 1),
        ("a.l[7].w=1", "RC009", 4), ("a.l.x=1", "RC009", 5), ("a[0]=1", "RC009", 2), ("a.b.c=1", "RC009", 5),
        ("extends=x.yaml", "RC009", 1), ("a.b=\udcff", "RC009", 1), (".".join("a" * 100) + "=1", "RC009", 1),
        ("a.b=[1", "RC002", 5), ("a.b=!!int 3", "RC006", 5), ("a.b=\x1b[31m", "RC002", 5), ("a.b=*x", "RC002", 5),
    ],
)  # fmt: skip
def test_an_override_that_can_not_be_applied(tmp_path: Path, override: str, code: str, column: int) -> None:
    """It is a finding with its column; the recipe is still checked without it."""
    resolved = resolve(write(tmp_path, main="a: {b: 1, l: [{w: 1}]}\n"), [override])
    assert codes(resolved) == [(code, f"--set:1:{column}")]
    assert resolved.tree == {"a": {"b": 1, "l": [{"w": 1}]}}
