"""The step `score`: documents of a source are scored once, and its samples ordered by the mean of their documents' scores.

Its folder holds `<metric>.npy` (float32, one value a train sample; NaN where none of its documents has one),
`<metric>.order.npy` (int64, sample numbers by ascending value) and a manifest with their hashes. Scores of documents stay in
the cache, so another sequence length, another mixture or the same text in another source costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from runtime.data.document_table import TABLE
from runtime.data.shards import verify_prepared, write_manifest
from runtime.errors import DataError
from runtime.scoring.cluster import score_there
from runtime.scoring.corpus import SourceTexts, TokenTexts
from runtime.scoring.job import ScoringJob
from runtime.scoring.local import num_cores, score_here
from runtime.scoring.models import model_folder
from runtime.scoring.registry import settings
from runtime.scoring.samples import order_of, sample_scores
from runtime.scoring.scores import Scores
from runtime.steps.base import Context, Inputs, Result, result_of
from schemas.curriculum import CurriculumPlan
from schemas.plan import RunPlan, Step
from schemas.sources import MdsSource

__all__ = ["identity", "run"]

_FORMAT: Final = 2


def identity(step: Step, context: Context, inputs: Inputs) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """The metric with all that its numbers depend on; the samples are an input's."""
    curriculum = _curriculum(step, context.plan)
    return {
        "format": _FORMAT,
        **settings(curriculum.metric, model_folder(curriculum, str(step.source), context.layout.roots)),
    }


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:
    """Score what has no score yet, then write values and order of the train split's samples into `folder`.

    Raises:
        DataError: no document can be scored, or the model that reads is not there (RC401), has no tokenizer (RC406); a
            part of the prepared folder is gone (RC408); or what reading documents raises.
        RunFailed: a process or a task failed (RC606), an engine is missing (RC607).
    """
    plan, curriculum = context.plan, _curriculum(step, context.plan)
    prepared = result_of("prepare", plan, inputs)
    verify_prepared(prepared.folder)
    job = _job(step, context, inputs, folder)
    job.store.open()
    scores = Scores(job.table)
    scores.load(job.store)
    reused = scores.summary().documents - scores.num_missing()
    if scores.num_missing():
        _score(job, scores, step, context, prepared)
    job.store.compact()
    found = scores.summary()
    if found.undefined == found.documents:
        raise _undefined(job, found.documents)
    samples = int(prepared.values["train"]["samples"])
    values = sample_scores(job.table, scores, samples, plan.data.sequence_length)
    del scores
    np.save(folder / f"{curriculum.metric}.npy", values)
    np.save(folder / f"{curriculum.metric}.order.npy", order_of(values))
    write_manifest(folder)
    return {
        "scored": job.name,
        "metrics": {
            curriculum.metric: {
                "min": found.minimum,
                "mean": found.mean,
                "max": found.maximum,
                "undefined": found.undefined,
            }
        },
        "documents": found.documents,
        "reused_documents": reused,
        "samples": samples,
        "undefined_samples": int(np.isnan(values).sum()),
    }


def _score(job: ScoringJob, scores: Scores, step: Step, context: Context, prepared: Result) -> None:
    plan, said = context.plan, context.plan.execution.scoring
    if said.engine == "local":
        score_here(job, scores, said.tasks, total=prepared.values["documents"])
        return
    score_there(
        job,
        said.engine,
        said.tasks or num_cores(),
        plan.execution.slurm,
        logs=context.layout.run / "scoring" / step.id,
        seconds=step.seconds,
    )
    scores.load(job.store)


def _job(step: Step, context: Context, inputs: Inputs, folder: Path) -> ScoringJob:
    plan, roots, curriculum = context.plan, context.layout.roots, _curriculum(step, context.plan)
    name, prepared = str(step.source), result_of("prepare", plan, inputs)
    source = plan.data.sources[name]
    corpus: SourceTexts | TokenTexts
    if isinstance(source, MdsSource) and source.content == "tokens":
        tokenizer = result_of("tokenizer", plan, inputs).folder
        corpus = TokenTexts(source, roots, tokenizer, int(prepared.values["train"]["samples"]))
        table = folder / TABLE
        corpus.write_table(table, plan.data.sequence_length)
    else:
        corpus = SourceTexts(source, roots, plan.data.selection, plan.execution.offline)
        table = prepared.folder / TABLE
    model = model_folder(curriculum, name, roots)
    scores = context.layout.cache / "scores"
    return ScoringJob(name, corpus, table, curriculum.metric, model, settings(curriculum.metric, model), scores)


def _curriculum(step: Step, plan: RunPlan) -> CurriculumPlan:
    return plan.data.curricula[str(step.source)]


def _undefined(job: ScoringJob, documents: int) -> DataError:
    return DataError(
        "RC401",
        f"none of the {documents:,} documents of `{job.name}` can be scored by `{job.metric}`: they are too short for it",
        "choose another score, such as `by: length` or `by: compression_ratio`",
    )
