"""Documents of a source after selection, each with the digest that decides what becomes of it.

Whether a document is held out depends on its text alone: not on order, on other documents, or on the source it is in.
So a document that stands twice is on one side only, and adding files moves nothing from one side to the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from runtime.data.readers import Found, read
from runtime.errors import DataError
from schemas.data import Selection
from schemas.sources import SOURCE_KINDS, Source

__all__ = ["Document", "Skipped", "documents", "is_heldout"]

_DIGEST_BYTES = 16  # among 10^12 documents, a chance of 10^-15 that two different ones are taken for equal


class Document(NamedTuple):
    """One text.

    Args:
        text: never empty.
        place: file, or file and line or row.
        num_bytes: its size in UTF-8.
        digest: blake2b of its UTF-8 bytes, 16 bytes.
    """

    text: str
    place: str
    num_bytes: int
    digest: bytes


@dataclass
class Skipped:
    """How many documents were left out, and why; counted while `documents` runs."""

    empty: int = 0
    broken: int = 0
    too_short: int = 0
    too_long: int = 0
    duplicate: int = 0

    def as_dict(self) -> dict[str, int]:
        """Counts by reason."""
        return asdict(self)


def documents(
    source: Source,
    roots: tuple[Path, ...],
    selection: Selection,
    skipped: Skipped,
    *,
    scattered: bool = False,
    offline: bool = False,
) -> Iterator[Document]:
    """The documents of a source that are used, in order; memory grows only by 16-byte digests, and only to deduplicate.

    Args:
        source: what the plan says of it.
        roots: folders in which relative paths are looked up, in turn.
        selection: what is kept.
        skipped: is counted up.
        scattered: take files by the hash of their name, so that the first documents stand for all.
        offline: never ask a hub.

    Raises:
        DataError: nothing matches or nothing can be used (RC401), a broken document (RC407), a damaged shard (RC408).
        RunFailed: a hub or an object store can't be reached (RC607).
    """
    seen: set[bytes] = set()
    used = 0
    for found in read(source, roots, scattered=scattered, offline=offline):
        data = _encoded(found.text)
        if found.text is None or data is None:
            if source.on_error == "stop":
                raise _broken(found)
            skipped.broken += 1
        elif not found.text.strip():
            skipped.empty += 1
        elif len(data) < selection.min_bytes:
            skipped.too_short += 1
        elif selection.max_bytes is not None and len(data) > selection.max_bytes:
            skipped.too_long += 1
        else:
            digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
            if selection.deduplicate == "exact":
                if digest in seen:
                    skipped.duplicate += 1
                    continue
                seen.add(digest)
            used += 1
            yield Document(found.text, found.place, len(data), digest)
    if not used:
        raise _unusable(source, skipped)


def _encoded(text: str | None) -> bytes | None:
    try:
        return None if text is None else text.encode()
    except UnicodeEncodeError:
        return None


def _broken(found: Found) -> DataError:
    problem = found.problem or "its text can't be written as UTF-8 (half of a surrogate pair)"
    return DataError("RC407", f"{found.place}: {problem}", "mend or remove it, or say `on_error: skip` for the source")


def _unusable(source: Source, skipped: Skipped) -> DataError:
    what = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in skipped.as_dict().items() if count)
    return DataError(
        "RC401",
        f"the source {describe(source)} holds no document that can be used ({what or 'it is empty'})",
        "give other files, or change `data.selection`",
    )


def describe(source: Source) -> str:
    """A source as the recipe names it, such as ``files: docs/**/*.md``."""
    fields = source.model_dump(mode="json")
    kind = next(key for key in SOURCE_KINDS if key in fields)
    value = fields[kind]
    return f"`{kind}: {value if isinstance(value, str) else ', '.join(value)}`"


def is_heldout(digest: bytes, share: float) -> bool:
    """Whether a document of this digest belongs to the held-out `share` (0 to 1) of all documents."""
    return int.from_bytes(digest[:8], "big") < share * 2**64
