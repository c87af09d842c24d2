"""A plan becomes a job folder: plan.yaml, launch scripts and a README, the same bytes wherever it is made."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shlex
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from compiler.job.readme import readme_values
from compiler.job.scripts import folder_name, script_values
from compiler.job.yaml_out import dump
from schemas.diagnostics import Diagnostic, DiagnosticsError
from schemas.plan import RunPlan
from schemas.units import format_bytes, format_count, format_seconds, format_usd

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["emit", "job_files"]

_EXECUTABLE: Final = frozenset({"launch/local.sh", "launch/slurm.sbatch"})
_HEADER: Final = "# Written by recipec. Change the recipe, not this file: an edited plan is refused (RC605).\n"


def emit(plan: RunPlan, parent: Path) -> Path:
    """Write the job folder `<parent>/<name>-<fp8>/` and return its path.

    It appears whole or not at all. A folder that holds the same already is left untouched; another one of this job
    (same fingerprint, say with other Slurm options) is replaced, and files that people put into it are kept.

    Raises:
        DiagnosticsError: something that is no job folder is in the way, or the disk can't be written (RC604).
    """
    files = job_files(plan)
    target = parent / folder_name(plan)
    with _disk_errors(target):
        _refuse_foreign(target)
        if not _holds(target, files):
            _publish(target, files)
    return target


def job_files(plan: RunPlan) -> dict[str, str]:
    """Path in the job folder -> content: a pure function of the plan."""
    environment = _environment()
    values = script_values(plan)
    templates = {"launch/local.sh": "local.sh.j2", "launch/slurm.sbatch": "slurm.sbatch.j2"}
    return {
        "plan.yaml": _HEADER + dump(plan.model_dump(mode="json", by_alias=True)),
        **{path: environment.get_template(name).render(values) for path, name in templates.items()},
        "README.md": environment.get_template("README.md.j2").render(
            readme_values(plan) | {"folder": folder_name(plan)}
        ),
    }


@functools.cache
def _environment() -> Environment:
    """Templates beside this file; a name that a template misspells is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # 40 ms that `recipec check` needn't pay

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  # shell and Markdown, which have filters of their own
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "shell": _shell,
        "code": _code,
        "prose": _prose,
        "bytes": format_bytes,
        "count": format_count,
        "number": lambda value: f"{value:.6g}",
        "percent": lambda value: f"{value * 100:.3g} %",
        "seconds": format_seconds,
        "usd": format_usd,
    }
    return environment


def _shell(text: str) -> str:
    """One word of a shell script, on its line: also a comment such as `#SBATCH --qos=…` can't be left."""
    if not text.isprintable():
        raise ValueError(f"{text!r} has no place in a script")
    return shlex.quote(text)


def _prose(text: str) -> str:
    """Text on one line in which nothing is Markdown or HTML."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text)
    return " ".join(escaped.split())


def _code(text: str) -> str:
    """A Markdown code span, also for text with backticks, line ends or table bars."""
    flat = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in "".join(c if c == "`" else " " for c in flat).split()), default=0) + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


@contextlib.contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refused(f"{target} can't be written: {error.strerror or error}") from error


def _refused(message: str) -> DiagnosticsError:
    remedy = "free space, move what is in the way, or choose another folder with --out; nothing half-written was kept"
    return DiagnosticsError((Diagnostic(code="RC604", message=message, help=remedy),))


def _refuse_foreign(target: Path) -> None:
    """Stop before anything is touched that recipec did not make."""
    foreign = _refused(f"{target} is in the way: it is not a folder")
    if target.is_symlink():
        raise foreign
    try:
        before = target.stat()
        names = os.listdir(target)
        same = os.path.samestat(before, target.stat())
    except FileNotFoundError:  # also where another process is just replacing it
        return
    except NotADirectoryError:
        if os.path.lexists(target):
            raise foreign from None
        raise  # a folder above it is none
    # A folder that was replaced while it was read is being emptied elsewhere: what it still held says nothing.
    if same and names and "plan.yaml" not in names:
        raise _refused(f"{target} is in the way: it is not a job folder, since it holds no plan.yaml")


def _holds(target: Path, files: Mapping[str, str]) -> bool:
    """Whether the folder's files are these, scripts executable."""
    try:
        return all(
            (target / path).read_bytes() == content.encode()
            and (path not in _EXECUTABLE or os.access(target / path, os.X_OK))
            for path, content in files.items()
        )
    except FileNotFoundError:
        return False


def _publish(target: Path, files: Mapping[str, str]) -> None:
    """Write beside the target, then rename; what stood there is renamed aside, so that a whole one always exists."""
    token = uuid.uuid4().hex[:8]
    temporary = target.with_name(f".tmp-{token}-{target.name}")
    try:
        _write(temporary, files)
        replaced = _swap(temporary, target, f".old-{token}")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in replaced:
        _carry_over(old, target, files)


def _swap(new: Path, target: Path, prefix: str) -> list[Path]:
    """Rename `new` to `target`; what was there is now beside it, under the names returned."""
    replaced: list[Path] = []
    while True:
        aside = target.with_name(f"{prefix}-{len(replaced)}-{target.name}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(target, aside)
            replaced.append(aside)
        try:
            os.rename(new, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue  # another process has put its own there in the meantime
            if replaced:
                os.rename(replaced[-1], target)
            raise
        return replaced


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files and wait for the disk: a rename must not survive a power cut that its content doesn't."""
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as handle:
            handle.write(content.encode())
            handle.flush()
            os.fsync(handle.fileno())
        file.chmod(0o755 if path in _EXECUTABLE else 0o644)


def _carry_over(old: Path, target: Path, files: Mapping[str, str]) -> None:
    """Move what people added to the old folder into the new one, then drop the old one."""
    for root, folders, names in os.walk(old):
        for name in names + [folder for folder in folders if (Path(root) / folder).is_symlink()]:
            source = Path(root) / name
            path = source.relative_to(old)
            if path.as_posix() not in files:
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                os.rename(source, target / path)
    shutil.rmtree(old)
