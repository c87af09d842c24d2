"""What is wrong with a file that didn't come: read out of the exceptions of many stores' packages, told to the user."""

from __future__ import annotations

import errno
import http.client
import shutil
from pathlib import Path
from typing import Any, Final, Literal

from runtime.errors import DataError, RunError, RunFailed, first_line

__all__ = ["Problem", "StoreError", "disk_full", "explained", "is_full"]

Problem = Literal["missing", "denied", "away", "full", "damaged", "unusable"]
"""What is wrong: not there · may not be read · can't be reached now · the disk here is full · not what was written ·
nothing that can be asked for."""

_MISSING: Final = {"404", "NoSuchKey", "NoSuchBucket", "NotFound", "EntryNotFoundError", "ResourceNotFoundError"}
_DENIED: Final = {
    "401", "403", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "Forbidden", "InvalidAccessKeyId", "InvalidToken",
    "SignatureDoesNotMatch", "Unauthorized", "NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError",
    "ClientAuthenticationError", "GatedRepoError",
}  # fmt: skip
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StoreError(Exception):
    """A file that didn't come.

    Args:
        problem: what is wrong.
        url: the file.
        reason: a line of what the store, the disk or a check said.
    """

    def __init__(self, problem: Problem, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.problem, self.url, self.reason = problem, url, reason

    def error(self, what: str = "") -> RunError:
        """The error for the user; `what` is what the file is, such as `the shard `."""
        if self.problem == "missing":
            return DataError("RC401", f"{what}{self.url} is missing: {self.reason}", "check the address")
        if self.problem == "damaged":
            return DataError(
                "RC408",
                f"{what}{self.url} {self.reason}",
                "write it to the store again; the same command goes on from there",
            )
        if self.problem == "full":
            return RunFailed("RC604", f"no room for {what}{self.url}: {self.reason}", _MAKE_ROOM)
        if self.problem == "denied":
            message = f"{what}{self.url} may not be read, or isn't there: {self.reason}"
            return RunFailed("RC607", message, "check the credentials (for S3: AWS_ACCESS_KEY_ID, S3_ENDPOINT_URL)")
        return RunFailed(
            "RC607",
            f"{what}{self.url} can't be reached: {self.reason}",
            "check network, credentials and S3_ENDPOINT_URL; the same command goes on from there",
        )


_MAKE_ROOM: Final = (
    "free space, name a folder of another disk with `cache: /path` under `launch`, or let shards that were read make room "
    "with `cache_limit: 50GB`; then run the same command again"
)


def explained(error: Exception, url: str, target: Path) -> StoreError:
    """What an exception of a store's package, or of this machine, means for a file that was to come to `target`."""
    codes, reason = _codes(error), first_line(error)
    if is_full(error):
        return StoreError("full", url, disk_full(target.parent))
    # A folder of this machine, and what streaming's downloaders make of "not found".
    if isinstance(error, FileNotFoundError) or codes & _MISSING:
        return StoreError("missing", url, reason)
    if isinstance(error, PermissionError) or codes & _DENIED:
        return StoreError("denied", url, reason)
    # A half answer is a ValueError to some clients; a wrong address is one to botocore only.
    wrong = isinstance(error, (ImportError, TypeError, AttributeError)) or "ParamValidation" in type(error).__name__
    passing = isinstance(error, http.client.HTTPException) or not wrong
    return StoreError("away" if passing else "unusable", url, reason)


def disk_full(folder: Path) -> str:
    """What to say of a folder that nothing more can be written to."""
    return f"the disk of {folder} is full ({shutil.disk_usage(folder).free:,} bytes free)"


def _codes(error: Exception) -> set[str]:
    """All that an exception of boto3, google, azure or huggingface says of its kind."""
    response = getattr(error, "response", None)
    found: list[Any] = [type(error).__name__, getattr(error, "status_code", None), getattr(error, "code", None)]
    if isinstance(response, dict):
        found.append(response.get("Error", {}).get("Code"))
    else:
        found.append(getattr(response, "status_code", None))
    return {str(code) for code in found if code is not None}


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error, which libraries may have wrapped."""
    while error is not None:
        if getattr(error, "errno", None) in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
