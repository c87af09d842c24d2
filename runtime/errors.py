"""How a run ends when something is wrong: a code of the catalogue, the place, the remedy, and the exit code.

RunError
├── DataError      the data (or the recipe) has errors: exit code 1
├── RunFailed      the run failed on its way, finished work is kept: exit code 3
└── Refused        a resume or a lock is refused: exit code 4
"""

from __future__ import annotations

from typing import ClassVar, Final

__all__ = ["DataError", "Refused", "RunError", "RunFailed", "first_line"]

_REASON_CHARACTERS: Final = 200


class RunError(Exception):
    """A failure that a user can act on; printed as `error[RC407]: …` with its remedy, never as a traceback.

    Args:
        code: a key of `schemas.codes.CATALOGUE`.
        message: what is wrong and where (file, line, shard), in one or two sentences.
        remedy: what to do or type.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[RunError], tuple[str, str, str]]:
        """As it was, also when a process of a pool hands it on."""
        return type(self), (self.code, self.message, self.remedy)


class DataError(RunError):
    """The data, or what the recipe says of it, has errors."""

    exit_code: ClassVar[int] = 1


class RunFailed(RunError):
    """The run failed on its way; what was finished is kept."""


class Refused(RunError):
    """Going on would damage or falsify something, so it is refused."""

    exit_code: ClassVar[int] = 4


def first_line(error: Exception) -> str:
    """What an exception of others says, in a line: the name of its type where it says nothing."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:_REASON_CHARACTERS]
