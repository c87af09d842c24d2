"""How fast documents are scored: documents and megabytes per second of one core by metric, and a whole source over processes.

    python -m benchmarks.scoring [--megabytes 3] [--rounds 3]

The text is CPython's documentation and library. Of one core, seconds are those that the process computed, so that a busy
machine looks like an idle one; the fastest round counts. The first round of readability is shown apart: pyphen hyphenates each
word once, then it is remembered.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from runtime.data.document_table import TABLE, DocumentTable
from runtime.data.readers import read
from runtime.scoring.corpus import ScoredText, SourceTexts
from runtime.scoring.job import ScoringJob
from runtime.scoring.local import num_cores, score_here
from runtime.scoring.registry import METRICS, open_scorer, settings
from runtime.scoring.samples import order_of, sample_scores
from runtime.scoring.scores import Scores
from schemas.curriculum import Metric
from schemas.data import Selection
from schemas.sources import BuiltinSource

__all__ = ["main"]

# A model of 10M parameters reads some kilobytes a second on a core.
_LOSS_SHARE = 50


def _texts(megabytes: float) -> list[str]:
    """Every tenth document of both built-in sources, about as much of each, up to so many megabytes."""
    found: list[str] = []
    for name in ("cpython-docs", "cpython-library"):
        size = 0
        for number, document in enumerate(read(BuiltinSource(builtin=name), ())):
            if number % 10 or not document.text or not document.text.strip():
                continue
            size += len(document.text)
            if size > megabytes * 5e5:
                break
            found.append(document.text)
    return found


def _model(folder: Path) -> Path:
    """A random llama of 10M parameters with the tokenizer that `tokenizer` steps train."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from runtime.steps.tokenizer import train_bpe

    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=8192, hidden_size=256, num_hidden_layers=8, num_attention_heads=8, intermediate_size=768,
        max_position_embeddings=1024, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    train_bpe(iter(_texts(1)), 8192).save(str(folder / "tokenizer.json"))
    return folder


def _by_metric(texts: list[str], rounds: int, model: Path) -> None:
    size = sum(len(text.encode()) for text in texts)
    print(f"{len(texts)} documents, {size / 1e6:.2f} MB; processor time of one process\n")
    print("| metric | documents/s per core | MB/s per core | first round, MB/s | without a score |")
    print("|---|---|---|---|---|")
    scorers = {metric: open_scorer(metric, model if metric == "loss" else None) for metric in METRICS}
    times: dict[Metric, list[float]] = {metric: [] for metric in METRICS}
    undefined: dict[Metric, int] = {}
    given = {metric: texts[::_LOSS_SHARE] if metric == "loss" else texts for metric in METRICS}
    for _ in range(rounds):
        for metric, scorer in scorers.items():
            start = time.process_time()
            found = scorer(given[metric])
            times[metric].append(time.process_time() - start)
            undefined[metric] = int(np.isnan(found).sum())
    for metric, seconds in times.items():
        mine = given[metric]
        megabytes = sum(len(text.encode()) for text in mine) / 1e6
        best, first = min(seconds), seconds[0]
        print(
            f"| {metric} | {len(mine) / best:,.0f} | {megabytes / best:,.3g} | {megabytes / first:,.3g} "
            f"| {undefined[metric]} of {len(mine)} |"
        )


class _Repeated(SourceTexts):
    """Documents of memory, so that reading files is not what is measured."""

    def __iter__(self) -> Iterator[ScoredText]:
        return iter(_KEPT)


_KEPT: list[ScoredText] = []


def _whole(texts: list[str], copies: int) -> None:
    """The step's own path over processes: chunks, store, samples. Each copy of a text differs in its first line."""
    import hashlib

    _KEPT.clear()
    for copy in range(copies):
        for text in texts:
            mine = f"{copy}\n{text}"
            _KEPT.append(ScoredText(hashlib.blake2b(mine.encode(), digest_size=16).digest(), mine))
    print(
        "\n| processes | documents/s | MB/s | chunks in the store | reading them back, s | 128-token samples ordered, s |"
    )
    print("|---|---|---|---|---|---|")
    size = sum(len(document.text.encode()) for document in _KEPT)
    corpus = _Repeated(BuiltinSource(builtin="cpython-docs"), (), Selection(), True)
    for processes in sorted({1, 2, num_cores()}):
        with tempfile.TemporaryDirectory() as folder:
            table, tokens = Path(folder, TABLE), 0
            with DocumentTable(table) as rows:
                for document in _KEPT:
                    tokens += len(document.text) // 4 + 1
                    rows.add(document.digest, len(document.text) // 4 + 1)
                rows.finish(tokens // 128 * 128)
            job = ScoringJob("bench", corpus, table, "mtld", None, settings("mtld", None), Path(folder, "scores"))
            job.store.open()
            start = time.perf_counter()
            score_here(job, Scores(table), processes)
            seconds = time.perf_counter() - start
            start = time.perf_counter()
            scores = Scores(table)
            scores.load(job.store)
            loaded = time.perf_counter() - start
            start = time.perf_counter()
            order_of(sample_scores(table, scores, tokens // 128, 128))
            ordered = time.perf_counter() - start
            chunks = len(list(job.store.folder.glob("*.npy")))
        print(
            f"| {processes} | {len(_KEPT) / seconds:,.0f} | {size / seconds / 1e6:.3g} | {chunks} "
            f"| {loaded:.3f} | {ordered:.3f} |"
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=3.0, help="text that each metric scores")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=8, help="of the text, for the table over processes")
    options = parser.parse_args()
    texts = _texts(options.megabytes)
    with tempfile.TemporaryDirectory() as folder:
        _by_metric(texts, options.rounds, _model(Path(folder)))
    _whole(texts, options.copies)


if __name__ == "__main__":
    main()
