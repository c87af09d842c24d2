"""The step `tokenizer`: train a byte-level BPE on the sources' text, or take one that exists.

Its folder is a Hugging Face tokenizer: `AutoTokenizer.from_pretrained` loads it.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.data.documents import Skipped, documents, is_heldout
from runtime.data.identity import source_identity
from runtime.data.locate import find_folder
from runtime.errors import DataError, RunFailed, first_line
from runtime.files import hash_file
from runtime.lineage import reads_like
from runtime.steps.base import Context, Inputs
from runtime.tokenizer import pieces
from schemas.plan import RunPlan, Step
from schemas.sources import MdsSource, Source

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["EOS", "identity", "run", "train_bpe"]

EOS: Final = "<|endoftext|>"
"""End of a document; the only special token of a tokenizer trained here, id 0."""

_FORMAT = 3

# Training takes the square of a word's length: 17 minutes for a million letters without a blank (DNA, base64).
_LONG_WORD: Final = re.compile(r"\S{1024}|\s{1024}")


def identity(step: Step, context: Context, inputs: Inputs) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """What the tokenizer depends on: the text that it is trained on, or the files that it is loaded from.

    A run that starts from another one reads with that one's tokenizer, whatever its own sources are.
    """
    plan, roots = reads_like(context.plan), context.layout.roots
    what = plan.text_tokenizer.model_dump(mode="json", exclude={"path"})
    library = importlib.metadata.version("tokenizers")
    if plan.text_tokenizer.kind == "pretrained":
        files = _file_hashes(_folder(plan, roots)) if plan.text_tokenizer.path else {}
        return {"format": _FORMAT, "tokenizer": what, "files": files, "library": library}
    sources = {
        name: {**source_identity(name, source, roots, offline=plan.execution.offline), "bytes": _quotas(plan)[name]}
        for name, source in _text_sources(plan).items()
    }
    return {
        "format": _FORMAT,
        "tokenizer": what,
        "library": library,
        "sources": sources,
        "selection": plan.data.selection.model_dump(mode="json"),
        "holdout": plan.evaluation.holdout,
    }


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """Write the tokenizer into `folder`.

    Raises:
        DataError: its vocabulary is not the plan's, or it has no end-of-text token (RC406), or what `documents` raises.
        RunFailed: the hub can't be reached (RC607).
    """
    context = Context(reads_like(context.plan), context.layout)
    if context.plan.text_tokenizer.kind == "bpe":
        _train(context, folder)
    else:
        _copy(context, folder)
    return _checked(context.plan, folder)


def _train(context: Context, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    wanted = context.plan.text_tokenizer.vocab_size
    tokenizer = train_bpe(_training_text(context), wanted)
    size = tokenizer.get_vocab_size()
    if size != wanted:
        raise DataError(
            "RC406",
            f"the sources hold too little text for a vocabulary of {wanted}: it gives {size} tokens at most",
            f"write `tokenizer: {{vocab_size: {size}}}` or less, or give more text",
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS, bos_token=EOS, clean_up_tokenization_spaces=False
    ).save_pretrained(folder)


def train_bpe(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE with GPT-2's word boundaries: every text can be encoded, and decodes to itself.

    The same texts give the same tokenizer with any number of threads: pairs of equal count are ordered by their ids.

    Args:
        texts: what it is trained on.
        vocab_size: size aimed at: `EOS`, 256 bytes, merges. It is smaller if the texts have too few pairs to merge.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((part for text in texts for part in _cut_words(text)), trainer=trainer)
    return tokenizer


def _cut_words(text: str) -> Iterator[str]:
    """A text, cut inside of words longer than any that is worth a token."""
    start = 0
    for match in _LONG_WORD.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    yield text[start:]


def _text_sources(plan: RunPlan) -> dict[str, Source]:
    """Sources that hold text, which a tokenizer can be trained on."""
    found = {
        name: source
        for name, source in plan.data.sources.items()
        if not (isinstance(source, MdsSource) and source.content == "tokens")
    }
    if not found:
        raise DataError(
            "RC406",
            "no tokenizer can be trained: every source is made of tokens already",
            "name the tokenizer that made them: `tokenizer: {kind: pretrained, path: ...}`",
        )
    return found


def _quotas(plan: RunPlan) -> Mapping[str, int]:
    """Bytes that each source gives: all the same, so that a mixture whose future changes keeps the run's token ids."""
    names = list(_text_sources(plan))
    return {name: plan.text_tokenizer.max_bytes // len(names) for name in names}


def _training_text(context: Context) -> Iterator[str]:
    """Text of each source up to its quota, by files taken at random, without what is held out."""
    for name, source in _text_sources(context.plan).items():
        left = _quotas(context.plan)[name]
        for text in _texts(source, context) if left else ():
            for piece in pieces(text):
                # A character has a byte at least, so the last document is cut near the quota.
                kept = piece[: max(left, 0)]
                left -= len(kept.encode())
                yield kept
            if left <= 0:
                break


def _texts(source: Source, context: Context) -> Iterator[str]:
    """Documents that are not held out; all of them if chance holds out each (`prepare` holds out their end then)."""
    plan = context.plan
    found_any = False
    for share in (plan.evaluation.holdout, 0.0):
        if found_any:
            return
        found = documents(
            source, context.layout.roots, plan.data.selection, Skipped(), scattered=True, offline=plan.execution.offline
        )
        for document in found:
            if not is_heldout(document.digest, share):
                found_any = True
                yield document.text


def _folder(plan: RunPlan, roots: tuple[Path, ...]) -> Path:
    """Folder of a pretrained tokenizer."""
    path = plan.text_tokenizer.path or ""
    folder = find_folder(path, roots)
    if folder is None:
        where = ", ".join(str(root) for root in roots)
        raise DataError("RC406", f"there is no tokenizer folder `{path}`; looked in {where}", "check `tokenizer.path`")
    return folder


def _file_hashes(folder: Path) -> dict[str, str]:
    """Hashes of a tokenizer's own files; weights that lie beside them don't count."""
    return {
        path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.suffix in {".json", ".txt", ".model"}
    }


def _copy(context: Context, folder: Path) -> None:
    """Load a tokenizer from a folder or the hub, without any code of its own, and save it."""
    from transformers import AutoTokenizer

    plan = context.plan
    place = str(_folder(plan, context.layout.roots)) if plan.text_tokenizer.path else str(plan.text_tokenizer.hub)
    try:
        loaded = AutoTokenizer.from_pretrained(
            place,
            revision=plan.text_tokenizer.revision or "main",
            local_files_only=plan.execution.offline or bool(plan.text_tokenizer.path),
            trust_remote_code=False,
        )
    except Exception as error:  # transformers has no common base
        reason = first_line(error)
        if plan.text_tokenizer.path:
            raise DataError(
                "RC406", f"the tokenizer in {place} can't be loaded: {reason}", "give a folder with tokenizer.json"
            ) from error
        raise RunFailed(
            "RC607",
            f"the tokenizer `{place}` can't be had from the hub: {reason}",
            "check name and network (`launch.offline: true` forbids it), or give its folder as `tokenizer.path`",
        ) from error
    if not loaded.is_fast:
        raise DataError(
            "RC406", f"the tokenizer `{place}` has no tokenizer.json", "choose one with a fast form, or convert it"
        )
    if loaded.eos_token is None:
        raise DataError(
            "RC406", f"the tokenizer `{place}` has no end-of-text token", "choose a tokenizer with an `eos_token`"
        )
    loaded.save_pretrained(folder)


def _checked(plan: RunPlan, folder: Path) -> dict[str, Any]:
    from runtime.tokenizer import load

    tokenizer = load(folder)
    if tokenizer.vocab_size != plan.text_tokenizer.vocab_size:
        raise DataError(
            "RC406",
            f"the tokenizer has {tokenizer.vocab_size} tokens, the plan was made for {plan.text_tokenizer.vocab_size}",
            f"write `tokenizer: {{vocab_size: {tokenizer.vocab_size}}}`, or choose the tokenizer that the recipe means",
        )
    return {
        "vocab_size": tokenizer.vocab_size,
        "eos_token_id": tokenizer.eos_token_id,
        "content_sha256": hash_file(folder / "tokenizer.json"),
    }
