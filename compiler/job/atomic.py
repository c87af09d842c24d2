"""Write one file whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from schemas.diagnostics import Diagnostic, DiagnosticsError

__all__ = ["write_file"]


def write_file(file: Path, text: str) -> None:
    """Write UTF-8 text beside the file and rename it; a file that was there stays as it was until then.

    Raises:
        DiagnosticsError: a folder is in the way, its folder is missing, or the disk can't be written (RC604).
    """
    if file.is_dir():
        raise _refused(f"{file} is a folder", "give the name of a file in it")
    if file.exists() and not file.is_file():  # a rename would put a file in the place of /dev/null
        raise _refused(f"{file} is no regular file", "give the name of a file to write")
    if not file.parent.is_dir():
        raise _refused(f"there is no folder {file.parent}", f"mkdir -p {file.parent}")
    target = file.resolve()  # a link goes on leading where it led
    temporary = target.with_name(f".tmp-{uuid.uuid4().hex[:8]}-{target.name[:60]}")
    try:
        with temporary.open("xb") as handle:
            handle.write(text.encode())
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _refused(
            f"{file} can't be written: {error.strerror or error}", "free space, or give another file"
        ) from error


def _refused(message: str, remedy: str) -> DiagnosticsError:
    return DiagnosticsError((Diagnostic(code="RC604", message=message, help=remedy),))
