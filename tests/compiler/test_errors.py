"""Failing recipes that say on each line which error it has, and how some of them are shown."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from compiler.frontend.resolve import resolve
from compiler.frontend.sequence import runs_of
from compiler.frontend.spans import RecipeError, SpanIndex
from compiler.frontend.validate import validate
from compiler.lineage.sequence import Planned, together
from compiler.render.diagnostics import render
from schemas.codes import CATALOGUE
from schemas.diagnostics import Diagnostic
from tests.recipes import ROOT

ERRORS = Path(__file__).parents[1] / "errors"
RECIPES = sorted(path.name for path in ERRORS.glob("*.yaml"))
GOLDEN = (
    "conflicts",
    "duplicate_keys",
    "extends_circle",
    "quantities",
    "renamed_keys",
    "sequence",
    "syntax_quote",
    "variables",
)
_EXPECTATION = re.compile(r"# (error|warning): (RC\d{3}(?:, RC\d{3})*)$")


def _check(name: str) -> tuple[tuple[Diagnostic, ...], SpanIndex]:
    try:
        resolved = resolve(Path(name))
    except RecipeError as error:
        return error.diagnostics, error.spans
    runs, findings = runs_of(resolved)
    checked = [Planned(run, found := validate(run.resolved), found.diagnostics, None) for run in runs]
    return (*resolved.diagnostics, *findings, *set(together(checked)) - set(resolved.diagnostics)), resolved.spans


def _expected(spans: SpanIndex) -> list[tuple[str, int, str, str]]:
    """What the comments of all files that were read say."""
    return sorted(
        (file, number, match[1], code)
        for file, lines in spans.texts.items()
        for number, line in enumerate(lines, start=1)
        if (match := _EXPECTATION.search(line))
        for code in match[2].split(", ")
    )


@pytest.mark.parametrize("name", RECIPES)
def test_each_line_has_the_errors_that_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All findings of a recipe are found at once, each on its line, and no others."""
    monkeypatch.chdir(ERRORS)
    findings, spans = _check(name)
    found = sorted((f.span.file, f.span.line, f.severity.value, f.code) for f in findings if f.span is not None)
    assert found == _expected(spans)
    assert len(found) == len(findings) > 0


@pytest.mark.parametrize("name", RECIPES)
def test_every_finding_says_why_and_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No message is empty, no code is unknown, and each finding has a remedy of its own or of its code."""
    monkeypatch.chdir(ERRORS)
    for finding in _check(name)[0]:
        entry = CATALOGUE[finding.code]
        assert finding.message
        assert finding.reason or entry.why
        assert finding.help or entry.fix


def test_every_code_that_is_raised_has_a_page() -> None:
    """Codes of the sources and of the catalogue are the same: none without its page, and no page for nothing."""
    rooms = (ROOT / "compiler", ROOT / "runtime", ROOT / "schemas")
    files = [file for room in rooms for file in room.rglob("*.py") if file.name != "codes.py"]
    raised = {code for file in files for code in re.findall(r"\bRC\d{3}\b", file.read_text(encoding="utf-8"))}
    assert raised == set(CATALOGUE)


@pytest.mark.parametrize("stem", GOLDEN)
def test_text_is_as_before(stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rendered text is the committed one; UPDATE_GOLDEN=1 writes it anew, for a look at the difference."""
    monkeypatch.chdir(ERRORS)
    findings, spans = _check(f"{stem}.yaml")
    text = render(tuple(sorted(findings, key=Diagnostic.sort_key)), spans, "text", color=False, width=100)
    golden = Path(f"{stem}.txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
