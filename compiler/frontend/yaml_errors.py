"""What is wrong with a text that is not YAML, in words of the person who wrote it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from compiler.frontend.tree import Place
from schemas.diagnostics import Diagnostic, Related

__all__ = ["ReadError", "syntax_error"]


class ReadError(Exception):
    """A text can't be read any further. Never leaves the loader, which adds the lines and raises `RecipeError`."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__()
        self.diagnostics = diagnostics


class _Advice(NamedTuple):
    """A problem as ruamel words it, and as we do."""

    problem: str
    message: str
    help: str
    opening: bool = False
    """The mistake is where the construct began, not where it was noticed."""


_ADVICE: Final = (
    _Advice("found character '\\t'", "a tab can't indent", "indent with spaces"),
    _Advice(
        "mapping values are not allowed here",
        "a second `:` where one value was expected",
        "put quotes around a value that contains `: `; on the line above, look for a missing `:`",
    ),
    _Advice("unexpected end of stream", "the quote is never closed", "close the quote", opening=True),
    _Advice("unexpected document separator", "the quote is never closed", "close the quote", opening=True),
    _Advice("expected ',' or ']'", "the list is not closed, or a comma is missing", "close it with `]`", opening=True),
    _Advice(
        "expected ',' or '}'", "the mapping is not closed, or a comma is missing", "close it with `}`", opening=True
    ),
    _Advice("could not find expected ':'", "a key without `:`", "write `key: value`"),
    _Advice(
        "<block end>",
        "this doesn't fit the lines around it",
        "align it with the other keys; quote a value in one piece",
    ),
    _Advice("cannot start any token", "a value can't start with this character", "put the value in quotes"),
    _Advice(
        "unknown escape character",
        "an unknown escape",
        "in double quotes write `\\\\` for a backslash, or use single quotes",
    ),
    _Advice("'<document start>'", "text after the end of the recipe", "delete it, or close the bracket that is open"),
)


def syntax_error(
    error: Exception, text: str, position: int, place: Callable[[int, int], Place]
) -> tuple[Diagnostic, ...]:
    """The finding for an error that ruamel raised after it had read `position` characters."""
    problem = str(getattr(error, "problem", None) or "")
    noticed = getattr(getattr(error, "problem_mark", None), "index", position)
    began = getattr(getattr(error, "context_mark", None), "index", None)
    advice = next((item for item in _ADVICE if item.problem in problem), None)
    if text[max(0, noticed - 1) : noticed + 1] == "${":
        noticed -= 1
        advice = _Advice("", "a variable needs quotes inside `{ }` and `[ ]`", 'write "${name}"')
    if advice is None:
        message = problem or (
            "an escape that stands for no character"
            if isinstance(error, ValueError)
            else "the text breaks YAML's rules"
        )
        advice = _Advice("", f"not valid YAML: {message}", "")
    at = began if advice.opening and began is not None else noticed
    # A mistake noticed at the very end has no character left to point to: step back to the last one.
    at = max(0, min(at, len(text.rstrip()) - 1)) if at >= len(text.rstrip()) else at
    related: tuple[Related, ...] = ()
    if (
        advice.opening
        and began is not None
        and noticed != began
        and place(noticed, noticed).line != place(began, began).line
    ):
        end = min(noticed, max(0, len(text.rstrip()) - 1))
        related = (Related(span=place(end, end + 1).span(), message="noticed here"),)
    return (
        Diagnostic(
            code="RC002", message=advice.message, span=place(at, at + 1).span(), help=advice.help, related=related
        ),
    )
