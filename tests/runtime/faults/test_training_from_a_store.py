"""The whole way from s3:// through a store that fails: prepare and train, ready-made tokens and text; equal to the last bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streaming import MDSWriter

from runtime.errors import DataError
from runtime.fetching import stores
from runtime.files import read_json, write_json
from runtime.layout import Layout
from runtime.steps import prepare, train
from runtime.steps.base import Context, Result
from schemas.plan import RunPlan
from tests.runtime.corpus import context_of as corpus_context
from tests.runtime.corpus import plan_of as corpus_plan
from tests.runtime.corpus import run_tokenizer, words, write_files
from tests.runtime.faults.case import shards_of, write_remotes
from tests.runtime.faults.store import FaultyStore, at_random, s3_server
from tests.runtime.training_case import plan_of

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A bucket's folder with tokens and text, and the port of the server before it."""
    folder = tmp_path_factory.mktemp("served")
    write_remotes(folder / "bucket", compression="zstd")
    with MDSWriter(columns={"text": "str"}, out=str(folder / "bucket" / "text"), size_limit=4096) as out:
        for number in range(40):
            out.write({"text": words(number, 60)})
    with s3_server(folder) as port:
        yield folder / "bucket", port


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A tokenizer of 300 tokens."""
    root = tmp_path_factory.mktemp("tokenizer")
    write_files(root / "text", 30)
    return run_tokenizer(corpus_context(corpus_plan({"text": {"files": "text/*.txt"}}), root), root / "made")


def _plan(place: str, **execution: Any) -> RunPlan:
    sources = {name: {"mds": f"{place}/{name}", "tokens": 1000} for name in ("code", "prose")}
    return plan_of(8, data={"sources": sources}, execution=execution, evaluation={"holdout": 0.0})


def _train(plan: RunPlan, folder: Path, made: Result) -> tuple[dict[str, Any], list[float]]:
    """Prepare and train; the result, and the loss of each batch."""
    layout = Layout.of(plan, roots=(folder,), runs=folder / "runs")
    context = Context(plan, layout)
    inputs = {"tokenizer": made}
    for number, name in enumerate(("code", "prose")):
        step = next(step for step in plan.steps if step.id == f"prepare-{name}")
        out = layout.cache / step.id
        if not out.exists():
            out.mkdir(parents=True)
            write_json(out / "result.json", prepare.run(step, context, {"tokenizer": made}, out))
        values = read_json(out / "result.json")
        inputs[step.id] = Result(step.id, str(number) * 64, out, values)
    layout.run.mkdir(parents=True, exist_ok=True)
    step = next(step for step in plan.steps if step.kind == "train")
    values = train.run(step, context, inputs, layout.run)
    lines = [json.loads(line) for line in layout.metrics.read_text().splitlines()]
    return values, [line["loss"] for line in lines if "loss" in line]


def test_training_from_a_store_that_fails(
    served: tuple[Path, int], made: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 % of all requests fail in four ways, with two loader processes and a small cache; losses equal those of a folder."""
    folder, port = served
    values, losses = _train(_plan(str(folder)), tmp_path / "folder", made)
    assert len(losses) == 8
    with FaultyStore(port, at_random(0.4, ("503", "cut", "reset", "slow"), seed=3)) as store:
        monkeypatch.setenv("S3_ENDPOINT_URL", store.url)
        remote, same = _train(_plan("s3://bucket", workers=2, cache_limit=20_000), tmp_path / "store", made)
        assert sum(count for fault, count in store.seen.items() if fault != "none") >= 6
    assert same == losses
    for key in ("loss", "samples_per_source", "steps"):
        assert remote[key] == values[key]


def test_a_shard_that_is_damaged_in_the_middle_of_a_training(
    served: tuple[Path, int], made: Result, tmp_path: Path
) -> None:
    """The training stops with the object's URL; when it has been mended, the same command ends with the same loss."""
    folder, _ = served
    values, _ = _train(_plan(str(folder)), tmp_path / "folder", made)
    shard = shards_of(folder / "code")[5]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-7])
    try:
        with pytest.raises(DataError) as caught:
            _train(_plan("s3://bucket", workers=1), tmp_path / "store", made)
    finally:
        shard.write_bytes(whole)
    assert caught.value.code == "RC408"
    assert f"the shard s3://bucket/code/{shard.name} has" in caught.value.message
    again, _ = _train(_plan("s3://bucket", workers=1), tmp_path / "store", made)
    assert (again["loss"], again["samples_per_source"]) == (values["loss"], values["samples_per_source"])


def test_text_from_a_store_that_fails(
    served: tuple[Path, int], made: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents of a bucket become the same samples, whatever the store does meanwhile."""
    folder, port = served
    monkeypatch.setattr(stores, "FIRST_CONTACT", stores.PATIENCE)

    def prepared(place: str, out: Path) -> dict[str, Any]:
        plan = corpus_plan({"text": {"mds": f"{place}/text", "column": "text", "content": "text"}})
        context = corpus_context(plan, tmp_path)
        out.mkdir()
        step = next(step for step in plan.steps if step.source == "text")
        return prepare.run(step, context, {"tokenizer": made}, out)

    expected = prepared(str(folder), tmp_path / "here")
    with FaultyStore(port, at_random(0.3, ("503", "cut", "reset"), seed=5)) as store:
        monkeypatch.setenv("S3_ENDPOINT_URL", store.url)
        assert prepared("s3://bucket", tmp_path / "there") == expected
        assert store.requests - store.seen["none"] >= 3
    for split in ("train", "heldout"):
        for shard in shards_of(tmp_path / "here" / split):
            assert (tmp_path / "there" / split / shard.name).read_bytes() == shard.read_bytes()
