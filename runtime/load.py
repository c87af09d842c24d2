"""The runtime's door: plan.yaml -> RunPlan, or a reason why this file is not a plan that may be executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from runtime.errors import DataError
from schemas.fingerprint import fingerprint, resume_key
from schemas.plan import FORMAT_VERSION, RunPlan

__all__ = ["load_plan"]

# A run with the provenance of every value has about 100 kB, and a sequence 64 of them; this is beyond, and well within memory.
_LARGEST_BYTES: Final = 32_000_000
_REMEDY: Final = "compile the recipe again and run the plan it writes"


def load_plan(path: Path) -> RunPlan:
    """Read and check a plan and all runs in it: YAML, format version, types, invariants, fingerprint.

    Raises:
        DataError: it can't be read, is damaged, was edited, or is of another major format version (RC605).
    """
    content = _mapping(path)
    _check_version(path, content)
    try:
        plan = RunPlan.model_validate(content)
    except ValidationError as error:
        raise _refusal(path, _first(error)) from None
    for run in plan.runs:
        whose = "its" if run is plan else f"the run {run.run}'s"
        for name, stored, actual in (
            ("fingerprint", run.fingerprint, fingerprint(run)),
            ("resume key", run.resume_key, resume_key(run)),
        ):
            if stored != actual:
                why = f"was edited: {whose} {name} is {stored[:8]}, its content has {actual[:8]}"
                raise _refusal(path, why, "change the recipe, not the plan, and compile it again")
    return plan


def _mapping(path: Path) -> dict[str, Any]:
    """The YAML mapping in a file, as plain values."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise _refusal(path, f"is larger than {_LARGEST_BYTES // 1_000_000} MB, which no plan is")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _refusal(path, "is not UTF-8 text") from None
    except OSError as error:
        raise _refusal(path, f"can't be read ({error.strerror})", "give the path of a compiled plan.yaml") from None
    try:
        content = YAML(typ="safe").load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise _refusal(path, f"is damaged: not valid YAML{where}") from None
    if not isinstance(content, dict):
        raise _refusal(path, "is damaged: it holds no mapping")
    return content


def _check_version(path: Path, content: dict[str, Any]) -> None:
    """A newer minor version is read (unknown keys of it are refused below); another major one is not."""
    version = content.get("format_version")
    if not isinstance(version, str):
        raise _refusal(path, "has no format_version, so it is damaged or not a plan")
    if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        raise _refusal(path, f"has format {version[:20]}, and this runtime reads {FORMAT_VERSION}")


def _first(error: ValidationError) -> str:
    """The first finding of pydantic in one line, and how many more there are."""
    problems = error.errors(include_url=False, include_input=False)
    place = ".".join(str(part) for part in problems[0]["loc"])
    message = problems[0]["msg"].removeprefix("Value error, ")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"does not hold together: {f'`{place}`: ' if place else ''}{message}{more}"


def _refusal(path: Path, why: str, remedy: str = _REMEDY) -> DataError:
    return DataError("RC605", f"the plan {path} {why}", remedy)
