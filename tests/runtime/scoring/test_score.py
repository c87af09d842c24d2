"""The score step: means of documents by sample, nothing scored twice, held-out documents not at all."""

from __future__ import annotations

import math
import shutil
from typing import Any

import numpy as np
import pytest
from streaming import MDSWriter

from runtime.data.document_table import TABLE, open_table
from runtime.data.documents import Skipped, documents, is_heldout
from runtime.errors import DataError
from runtime.scoring import local
from runtime.scoring.registry import open_scorer, settings
from runtime.scoring.store import ScoreStore
from runtime.steps import score
from runtime.steps.train import verify_data
from runtime.tokenizer import load
from schemas.curriculum import Metric
from tests.runtime.corpus import words, write_files
from tests.runtime.scoring.case import FILES, STEP, Case, scoring_plan, values
from tests.runtime.scoring.tiny_model import write_model


def expected_values(case: Case, plan: Any, metric: Metric, samples: int) -> list[float]:
    """Token by token: the score of the document that each token is of, and the mean over each sample."""
    tokenizer, scorer = load(case.tokenizer.folder), open_scorer(metric, None)
    owner: list[float] = []
    for document in documents(plan.data.sources["text"], (case.root,), plan.data.selection, Skipped()):
        if not is_heldout(document.digest, plan.evaluation.holdout):
            owner += scorer([document.text]) * (len(tokenizer.encode([document.text])[0]) + 1)
    length = plan.data.sequence_length
    table = np.array(owner[: samples * length], np.float32).reshape(samples, length)
    return [float(np.nanmean(row)) if not np.isnan(row).all() else math.nan for row in table]


@pytest.mark.parametrize("metric", ["ttr", "mtld", "length"])
def test_samples_have_the_mean_of_their_documents(case: Case, metric: Metric) -> None:
    """Held-out documents are not scored; every value, the order, and the books are what a plain loop gives."""
    plan = scoring_plan(FILES, metric, evaluation={"holdout": 0.3})
    prepared = case.prepared(plan)
    result = case.scored(plan, prepared)
    samples = prepared.values["train"]["samples"]
    found, order = values(result, metric), np.load(result.folder / f"{metric}.order.npy")
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(expected_values(case, plan, metric, samples), rel=1e-6, nan_ok=True)
    assert order.tolist() == np.argsort(found, kind="stable").tolist()
    digests = set(open_table(prepared.folder / TABLE)["digest"].tolist())
    stored = ScoreStore(case.root / "runs" / "cache" / "scores", settings(metric, None)).read()
    assert {digest for chunk, _ in stored for digest in chunk.tolist()} == digests
    assert result.values["scored"] == "text"
    assert "source" not in result.values
    assert result.values["documents"] == len(digests) < 60
    books = result.values["metrics"][metric]
    assert books["min"] <= books["mean"] <= books["max"]
    assert books["undefined"] == (0 if metric != "mtld" else books["undefined"])
    assert (result.values["samples"], result.values["undefined_samples"]) == (samples, int(np.isnan(found).sum()))


def test_another_sequence_length_scores_nothing_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are cut anew, their scores come from the store; so does a copy of the text under another name."""
    case.scored(scoring_plan(FILES))

    def never(*_: object) -> Any:
        raise AssertionError("a document is scored again")

    monkeypatch.setattr(local, "open_scorer", never)
    plan = scoring_plan(FILES, length=32)
    again = case.scored(plan)
    assert again.values["reused_documents"] == again.values["documents"]
    samples = again.values["samples"]
    assert values(again, "ttr").tolist() == pytest.approx(expected_values(case, plan, "ttr", samples), rel=1e-6)
    shutil.move(case.root / "text", case.root / "elsewhere")
    moved = case.scored(scoring_plan({"files": "elsewhere/*.txt"}, length=16))
    assert moved.values["reused_documents"] == moved.values["documents"]
    monkeypatch.undo()
    (case.root / "elsewhere" / "new.txt").write_text(words(99, 300))
    grown = case.scored(scoring_plan({"files": "elsewhere/*.txt"}))
    assert grown.values["documents"] - grown.values["reused_documents"] == 1


def test_ready_made_tokens_are_their_own_documents(case: Case) -> None:
    """Each sample is decoded and scored, the held-out ones at the end are not."""
    texts = [path.read_text() for path in sorted((case.root / "text").iterdir())]
    tokenizer = load(case.tokenizer.folder)
    samples = [ids[:64] for ids in tokenizer.encode(texts)]
    with MDSWriter(columns={"tokens": "ndarray:uint16:64"}, out=str(case.root / "ready"), hashes=["sha1"]) as out:
        for ids in samples:
            out.write({"tokens": np.array(ids, np.uint16)})
    result = case.scored(scoring_plan({"mds": "ready"}, "unigram_entropy", evaluation={"holdout": 0.1}))
    expected = open_scorer("unigram_entropy", None)([tokenizer.decode(ids) for ids in samples[:54]])
    assert values(result, "unigram_entropy").tolist() == pytest.approx(expected, rel=1e-6)
    assert result.values["samples"] == 54


def test_a_long_document_and_copies(case: Case) -> None:
    """A document of several pieces is scored as a whole, once; a copy of it has the same score."""
    shutil.rmtree(case.root / "text")
    (case.root / "text").mkdir()
    for name in ("a", "b"):
        (case.root / "text" / f"{name}.txt").write_text(words(1, 300_000))
    plan = scoring_plan(FILES, "compression_ratio", evaluation={"holdout": 0.0})
    result = case.scored(plan)
    (expected,) = open_scorer("compression_ratio", None)([words(1, 300_000)])
    assert result.values["documents"] == 1
    assert set(values(result, "compression_ratio").tolist()) == {float(np.float32(expected))}


def test_text_that_is_too_short_for_the_score(case: Case) -> None:
    """An error that says so, not an order by chance."""
    shutil.rmtree(case.root / "text")
    write_files(case.root / "text", 60, num_words=20)
    with pytest.raises(DataError, match="too short for it") as caught:
        case.scored(scoring_plan(FILES, "vocd"))
    assert caught.value.code == "RC401"


def test_loss_under_a_model(case: Case) -> None:
    """The model's own tokenizer reads the text; another model is another key, one that is not there is named."""
    write_model(case.root / "small", 1)
    write_model(case.root / "other", 2)
    plans = [scoring_plan(FILES, "loss", curriculum={"model": name}) for name in ("small", "other", "missing")]
    result = case.scored(plans[0])
    assert len(set(values(result, "loss").tolist())) > 10
    keys = [score.identity(STEP, case.context(plan), {}) for plan in plans[:2]]
    assert keys[0] != keys[1]
    with pytest.raises(DataError, match="no model `missing` to score `text`"):
        score.identity(STEP, case.context(plans[2]), {})


def test_a_prepared_folder_without_its_table(case: Case) -> None:
    """Somebody deleted a part of what was prepared: what is missing and what to delete are named."""
    plan = scoring_plan(FILES)
    prepared = case.prepared(plan)
    (prepared.folder / TABLE).unlink()
    with pytest.raises(DataError, match=f"{TABLE} is missing") as caught:
        case.scored(plan, prepared)
    assert caught.value.code == "RC408"
    assert str(prepared.folder) in caught.value.remedy


@pytest.mark.parametrize("deep", [False, True])
def test_an_order_that_has_changed_on_the_disk(case: Case, deep: bool) -> None:
    """One sample number is another: drawing it twice would pass unseen, so training compares every byte, also on resume."""
    plan = scoring_plan(FILES, "ttr")
    result = case.scored(plan, case.prepared(plan))
    verify_data({"score-text": result}, deep=deep)
    order = np.load(result.folder / "ttr.order.npy")
    order[-1] = order[0]
    np.save(result.folder / "ttr.order.npy", order)
    with pytest.raises(DataError, match="is not what was written") as caught:
        verify_data({"score-text": result}, deep=deep)
    assert str(result.folder) in caught.value.remedy
