"""Reads a plan back, for `recipec diff` and `recipec plan --against`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from schemas.diagnostics import Diagnostic, DiagnosticsError
from schemas.fingerprint import fingerprint
from schemas.plan import FORMAT_VERSION, RunPlan

__all__ = ["is_plan", "load_plan"]

# A plan of 100 sources and 100 phases has about 1 MB.
_LARGEST_BYTES: Final = 64_000_000


# A plan begins with its format's version, its name and its fingerprint.
_HEAD_BYTES: Final = 1024


def is_plan(path: Path) -> bool:
    """Whether a path is to be read as a plan, whatever it is called: a folder, a plan.yaml, or what `--format json` printed."""
    if path.is_dir() or path.name == "plan.yaml":
        return True
    try:
        with path.open("rb") as handle:
            head = handle.read(_HEAD_BYTES)
    except OSError:
        return False
    return b"format_version" in head and b"fingerprint" in head


def load_plan(path: Path) -> RunPlan:
    """The plan in a file, or in the job or run folder that holds a plan.yaml.

    Raises:
        DiagnosticsError: the file can't be read (RC001), is damaged, was edited or is of another major version (RC605).
    """
    file = path / "plan.yaml" if path.is_dir() else path
    tree = _tree(file)
    version = tree.get("format_version")
    if not isinstance(version, str) or version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise _broken(file, f"it has format version {version!r}, and this recipec reads {FORMAT_VERSION}")
    try:
        plan = RunPlan.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the plan"
        newer = f" (it is of format {version}, newer than {FORMAT_VERSION})" if version > FORMAT_VERSION else ""
        raise _broken(file, f"{where}: {first['msg']}{newer}") from error
    if any(fingerprint(run) != run.fingerprint for run in plan.runs):
        raise _broken(file, "it was edited: its fingerprint doesn't match its content")
    return plan


def _tree(file: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML  # not needed where nothing is compared
    from ruamel.yaml.error import YAMLError

    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise _broken(file, f"it is larger than {_LARGEST_BYTES:,} bytes")
        content = file.read_bytes()
        tree = json.loads(content) if content[:1] == b"{" else YAML(typ="safe", pure=True).load(content)
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "give a plan.yaml, or the job folder that holds it"
        raise DiagnosticsError((Diagnostic(code="RC001", message=f"{file}: {reason}", help=remedy),)) from error
    except (YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = f" (line {line + 1})" if line is not None else ""
        raise _broken(file, f"it is not valid YAML{place}") from error
    if not isinstance(tree, dict):
        raise _broken(file, "it holds no plan")
    return tree


def _broken(file: Path, reason: str) -> DiagnosticsError:
    message = f"{file} can't be read as a plan: {reason}"
    return DiagnosticsError((Diagnostic(code="RC605", message=message, help="compile the recipe again"),))
