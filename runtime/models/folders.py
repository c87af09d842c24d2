"""Folders of models, as Hugging Face writes them: fetched, pinned by content, measured, and their tokenizers compared."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Final

from runtime.errors import DataError, RunFailed, first_line
from runtime.files import hash_file

__all__ = ["COMPRESSED", "check_tokenizer", "content", "hub_folder", "num_parameters"]

COMPRESSED: Final = "compressed.safetensors"
"""Weights in a form that `from_pretrained` can't read: factors, integers of layers that compressed-tensors doesn't know, or a
gpt2 with fewer heads than its configuration counts."""
_READ: Final = frozenset({".json", ".safetensors"})
"""Endings of the files that a model is read from."""


@functools.cache
def hub_folder(name: str, revision: str | None, what: str, otherwise: str, *, offline: bool) -> Path:
    """A repository of the hub in its cache on this disk: safetensors and JSON, nothing that can hold code.

    Args:
        name: organisation/model.
        revision: commit, or None for the newest.
        what: names it in messages, such as `the teacher`.
        otherwise: ends the remedy: what to write instead.
        offline: take what the cache has, and ask nobody.

    Raises:
        RunFailed: it can't be had (RC607).
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=["*.safetensors", "*.json"], local_files_only=offline
        )
    except Exception as error:  # huggingface_hub, httpx and requests have no common base
        reason = first_line(error)
        raise RunFailed(
            "RC607",
            f"{what} `{name}` can't be had from the hub: {reason}",
            "check name, revision and network (a private one needs HF_TOKEN; `launch.offline: true` forbids the network), "
            + otherwise,
        ) from error
    return Path(folder)


def content(folder: Path) -> dict[str, str]:
    """sha256 of each file that a model is read from, by name; about a second a gigabyte."""
    return {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.suffix in _READ}


def num_parameters(folder: Path) -> int:
    """Weights in a folder's *.safetensors, by their headers: tied ones are stored once.

    Of an exported folder those that are loaded: a smaller form that only recipec reads may lie beside them.
    """
    from safetensors import safe_open

    found = 0
    for path in folder.glob("*.safetensors"):
        if path.name == COMPRESSED:
            continue
        with safe_open(path, framework="pt") as weights:
            found += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return found


def check_tokenizer(folder: Path, tokenizer: Path, what: str = "the teacher") -> None:
    """Refuse a model whose token ids mean other words; one without tokenizer.json can't be asked.

    Args:
        folder: the model's.
        tokenizer: folder of the run's own tokenizer.
        what: names the model in messages.

    Raises:
        DataError: the vocabularies differ (RC406).
    """
    from tokenizers import Tokenizer

    theirs = folder / "tokenizer.json"
    if not theirs.is_file():
        return
    try:
        words = Tokenizer.from_file(str(theirs)).get_vocab(with_added_tokens=True)
    except Exception as error:  # `tokenizers` raises plain Exception
        message = f"{what}'s tokenizer {theirs} can't be read: {error}"
        raise DataError("RC406", message, f"fetch or export {what} again") from error
    ours = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).get_vocab(with_added_tokens=True)
    differing = sum(words.get(word) != number for word, number in ours.items())
    if differing:
        raise DataError(
            "RC406",
            f"{what} in {folder} has another tokenizer: {differing:,} of {len(ours):,} tokens mean other words there",
            f"take that one: `tokenizer: {{kind: pretrained, path: {folder}}}`",
        )
