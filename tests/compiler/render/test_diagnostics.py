"""How findings look in each format; the texts of whole recipes are golden files in tests/errors."""

from __future__ import annotations

import json

import pytest

from compiler.frontend.spans import SpanIndex
from compiler.render.diagnostics import explain, render
from schemas.codes import CATALOGUE
from schemas.diagnostics import Diagnostic, Related, Severity, Span


def show(
    line: str, column: int, end_column: int, *, label: str = "", width: int = 80, message: str = "wrong"
) -> list[str]:
    """The rendered lines of one finding on a one-line file."""
    span = Span(file="a.yaml", line=1, column=column, end_column=end_column)
    finding = Diagnostic(code="RC103", message=message, span=span, label=label, reason="r", help="h")
    return render([finding], SpanIndex(texts={"a.yaml": (line,)}), "text", width=width).splitlines()


def test_carets_stand_under_the_value() -> None:
    """Head, place, line, carets with the label, why, help, count."""
    assert show("lr: fast", 5, 9, label="a text") == [
        "error[RC103]: wrong",
        "  --> a.yaml:1:5",
        "   |",
        " 1 | lr: fast",
        "   |     ^^^^ a text",
        "   = why: r",
        "   = help: h",
        "",
        "1 error",
    ]


@pytest.mark.parametrize(
    ("line", "column", "end", "shown", "marks"),
    [
        ("日本: 東京", 5, 7, "日本: 東京", "      ^^^^"),
        ("\tk: v", 2, 3, "    k: v", "    ^"),
        ("e\u0301: v", 5, 6, "e\u0301: v", "   ^"),
        ("k:", 3, 4, "k:", "  ^"),
        ("k: v", 40, 45, "k: v", "    ^"),
        ("k: v", 4, 4, "k: v", "   ^"),
    ],
    ids=["wide", "tab", "combining", "at the end", "past the end", "empty"],
)
def test_columns_are_those_of_the_terminal(line: str, column: int, end: int, shown: str, marks: str) -> None:
    """Wide characters take two columns, combining marks none, tabs four; a place past the end is still shown."""
    lines = show(line, column, end)
    assert lines[3] == f" 1 | {shown}"
    assert lines[4] == f"   | {marks}"


def test_long_lines_are_cut_around_the_place() -> None:
    """No line of the snippet is wider than the terminal, and the place is in what is left."""
    line = "a" * 500 + ": value " + "b" * 500
    lines = show(line, 503, 508, label="here it is, and this label is a long one, too", width=60)
    assert all(len(text) <= 60 for text in lines)
    start = lines[4].index("^")
    assert lines[3][start : start + 5] == "value"
    assert lines[3].count("…") == 2


def test_nothing_of_a_recipe_acts_on_the_terminal() -> None:
    """Escapes, carriage returns, right-to-left marks and NULs are shown as symbols, in lines, messages and labels."""
    evil = "\x1b[2J\r\x07\x00\u202e\x9b31m\u2028"
    text = "\n".join(show(f"k: {evil}", 4, 6, label=evil, message=f"found `{evil}`"))
    assert all(char == "\n" or char.isprintable() for char in text)
    assert "␛[2J␍␇␀" in text


def test_colour_is_only_in_the_escapes() -> None:
    """Without its escapes, coloured text is the plain text."""
    import re

    span = Span(file="a.yaml", line=1, column=1, end_column=2)
    finding = Diagnostic(code="RC101", message="m", span=span, related=(Related(span=span, message="x"),))
    index = SpanIndex(texts={"a.yaml": ("k: v",)})
    coloured = render([finding], index, "text", color=True)
    assert "\x1b[1;31merror[RC101]\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render([finding], index, "text")


def test_the_general_reason_is_given_once_for_each_code() -> None:
    """A reason of its own is always shown; help falls back on the code's remedy."""
    same = [Diagnostic(code="RC101", message=name) for name in "ab"]
    text = render([*same, Diagnostic(code="RC101", message="c", reason="special")], None, "text", width=200)
    assert text.count(CATALOGUE["RC101"].why) == 1
    assert text.count("why: special") == 1
    assert text.count(CATALOGUE["RC101"].fix) == 3


@pytest.mark.parametrize(
    ("errors", "warnings", "says"),
    [(0, 0, "no errors"), (1, 0, "1 error"), (2, 1, "2 errors, 1 warning"), (0, 3, "3 warnings")],
)
def test_the_last_line_counts(errors: int, warnings: int, says: str) -> None:
    """Errors and warnings are counted apart."""
    found = [Diagnostic(code="RC101", message=str(i)) for i in range(errors)]
    found += [Diagnostic(code="RC008", message=str(i), severity=Severity.WARNING) for i in range(warnings)]
    assert render(found, None, "text").splitlines()[-1] == says


def test_json_is_versioned_and_whole() -> None:
    """Programs get every field, and paths that lead from the current folder to the file."""
    span = Span(file="../base.yaml", line=3, column=2, end_column=5)
    finding = Diagnostic(
        code="RC005", message="m", span=span, path="a.b", related=(Related(span=span, message="first"),)
    )
    document = json.loads(render([finding, Diagnostic(code="RC001", message="n")], SpanIndex(folder="jobs/x"), "json"))
    assert document["format_version"] == "1.0"
    first, second = document["diagnostics"]
    place = {"file": "jobs/base.yaml", "line": 3, "column": 2, "end_column": 5}
    assert first["span"] == place
    assert first["related"] == [{"span": place, "message": "first"}]
    assert (first["severity"], first["path"], first["reason"]) == ("error", "a.b", CATALOGUE["RC005"].why)
    assert second["span"] is None


def test_github_annotations_can_not_be_injected() -> None:
    """A line feed or `::` of a recipe starts no command of its own."""
    span = Span(file="a,b:c%.yaml", line=2, column=3, end_column=9)
    finding = Diagnostic(code="RC107", message="name `x\n::add-mask::y`", span=span, help="50% off")
    text = render([finding], SpanIndex(), "github")
    assert text == (
        "::error file=a%2Cb%3Ac%25.yaml,line=2,endLine=2,col=3,endColumn=9,title=RC107"
        "::name `x␊::add-mask::y`%0Ahelp: 50%25 off\n"
    )


def test_github_annotations_of_overrides_have_no_file() -> None:
    """There is no file to annotate."""
    span = Span(file="--set", line=1, column=1, end_column=2)
    warning = Diagnostic(code="RC008", message="m", span=span, severity=Severity.WARNING, help="h")
    assert render([warning], None, "github") == "::warning title=RC008::m%0Ahelp: h\n"


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_has_a_page(code: str) -> None:
    """`explain` finds each code in any case and fits the width."""
    page = explain(code.lower())
    assert page is not None
    assert page.startswith(f"{code}: {CATALOGUE[code].title}\n")
    assert all(len(line) <= 88 for line in page.splitlines()[1:])


def test_an_unknown_code_has_no_page() -> None:
    """The caller says what to do then."""
    assert explain("RC999") is None


def test_a_flood_of_findings_leaves_the_first_ones_in_sight() -> None:
    """100 are shown, the others are counted, and programs get all."""
    found = [Diagnostic(code="RC101", message=f"number {i}") for i in range(250)]
    text = render(found, None, "text")

    assert "number 99" in text
    assert "number 100" not in text
    assert text.endswith("and 150 more, which --format json shows\n\n250 errors\n")
    assert len(json.loads(render(found, None, "json"))["diagnostics"]) == 250
