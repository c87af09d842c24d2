"""Scoring on this machine: one process reads the documents, as many as there are cores score them."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, Final

import numpy as np

from runtime.bars import bar
from runtime.errors import RunFailed
from runtime.scoring.corpus import ScoredText, chunks
from runtime.scoring.job import ScoringJob, score, unscored
from runtime.scoring.registry import Scorer, open_scorer
from runtime.scoring.scores import Scores
from runtime.scoring.store import ScoreStore, digests_of

__all__ = ["num_cores", "score_here"]

# Chunks of a megabyte that wait for each process, so that none waits for the reader, and memory stays small.
_WAITING: Final = 2


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def score_here(job: ScoringJob, scores: Scores, processes: int | None = None, total: int | None = None) -> None:
    """Score what has no score yet, into the store and into `scores`.

    A model reads in this process, with torch's own threads; so does what is too small to be worth other processes.

    Args:
        job: what to score.
        scores: what is known already; filled up.
        processes: that score; default: one a core.
        total: documents of the source, for the bar.

    Raises:
        RunFailed: a process died, such as for lack of memory (RC606).
        RunError: what reading documents or opening the metric raises.
    """
    work = _work(job, scores, total)
    first = list(itertools.islice(work, 2))
    processes = processes or num_cores()
    with contextlib.closing(work):
        if processes == 1 or len(first) < 2 or job.model is not None:
            _score_alone(job, scores, itertools.chain(first, work))
        else:
            _score_together(job, scores, itertools.chain(first, work), processes)


def _work(job: ScoringJob, scores: Scores, total: int | None) -> Generator[list[ScoredText]]:
    """Chunks with the documents that have no score, without empty ones; on a terminal, a bar."""
    with bar(f"score {job.name}", total=total, unit="doc") as shown:
        for chunk in chunks(job.corpus):
            if left := unscored(chunk, scores):
                yield left
            shown.update(len(chunk))


def _score_alone(job: ScoringJob, scores: Scores, work: Iterator[list[ScoredText]]) -> None:
    scorer: Scorer | None = None
    for chunk in work:
        # Opened only now: nothing to score needs no model.
        scorer = scorer or open_scorer(job.metric, job.model)
        _note(scores, chunk, score(chunk, scorer, job.store))


def _score_together(job: ScoringJob, scores: Scores, work: Iterator[list[ScoredText]], processes: int) -> None:
    pool = ProcessPoolExecutor(
        processes,
        # Forked, they would share locks and threads of whatever this process has imported.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(job,),
    )
    waiting: deque[tuple[list[ScoredText], Future[list[float]]]] = deque()
    try:
        for chunk in work:
            waiting.append((chunk, pool.submit(_score, chunk)))
            if len(waiting) >= _WAITING * processes:
                done, future = waiting.popleft()
                _note(scores, done, future.result())
        for done, future in waiting:
            _note(scores, done, future.result())
    except BrokenProcessPool as error:
        raise RunFailed(
            "RC606",
            f"a process that scored `{job.name}` died; perhaps memory ran out",
            f"run it again: what was scored is kept; fewer processes: `launch.scoring.tasks: {processes // 2 or 1}`",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _note(scores: Scores, chunk: Sequence[ScoredText], found: list[float]) -> None:
    scores.fill(digests_of([document.digest for document in chunk]), np.array(found, np.float32))


# What a process that scores has opened once.
_opened: dict[str, Any] = {}


def _begin(job: ScoringJob) -> None:
    # Ctrl-C reaches the whole group; the reader ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _opened["scorer"], _opened["store"] = open_scorer(job.metric, job.model), job.store


def _end_with_parent() -> None:
    """A reader that was killed closes no pipe that is seen here, and its processes would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _score(chunk: list[ScoredText]) -> list[float]:
    scorer: Scorer = _opened["scorer"]
    store: ScoreStore = _opened["store"]
    return score(chunk, scorer, store)
