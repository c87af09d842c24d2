"""The prepare step: exact books, one side for each document, and nothing that is taken for whole when it isn't."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streaming import MDSWriter

from runtime.data.document_table import open_table
from runtime.data.documents import Skipped, documents, is_heldout
from runtime.data.identity import content_hash
from runtime.data.shards import verify_prepared
from runtime.errors import DataError
from runtime.steps import prepare
from runtime.steps.base import Result
from runtime.tokenizer import load
from tests.runtime.corpus import context_of, plan_of, rows, run_prepare, run_tokenizer, source_of, words, write_files

LENGTH = 64


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A tokenizer of 300 tokens."""
    root = tmp_path_factory.mktemp("tokenizer")
    write_files(root / "text", 30)
    return run_tokenizer(context_of(plan_of({"text": {"files": "text/*.txt"}}), root), root / "made")


def prepared(
    root: Path, made: Result, folder: Path, source: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """Values of preparing one source called `text`."""
    context = context_of(plan_of({"text": source or {"files": "text/*.txt"}}, **changes), root)
    return run_prepare(context, "text", made, folder)


def tokens_of(folder: Path) -> list[int]:
    """All tokens of an MDS folder, in order."""
    return [int(token) for row in rows(folder) for token in row]


def write_mds(folder: Path, samples: int, column: str = "tokens", encoding: str | None = None, top: int = 299) -> None:
    """Ready-made shards of several files."""
    with MDSWriter(
        columns={column: encoding or f"ndarray:uint16:{LENGTH}"}, out=str(folder), hashes=["sha1"], size_limit=4096
    ) as out:
        for i in range(samples):
            row = np.full(LENGTH, i % 200, np.uint16)
            row[0] = top
            out.write({column: row})


def test_samples_are_the_documents_split_by_their_text(tmp_path: Path, made: Result) -> None:
    """Each split is its documents in order, each ended, cut at the last whole sample; every number is exact."""
    write_files(tmp_path / "text", 60)
    (tmp_path / "text" / "empty.txt").write_text("\n")
    values = prepared(tmp_path, made, tmp_path / "out", evaluation={"holdout": 0.3, "max_tokens": 100_000})
    plan = plan_of({"text": {"files": "text/*.txt"}})
    found = list(documents(source_of(plan, "text"), (tmp_path,), plan.data.selection, Skipped()))
    tokenizer = load(made.folder)
    dropped = 0
    for part, held in (("train", False), ("heldout", True)):
        of_part = [d for d in found if is_heldout(d.digest, 0.3) == held]
        expected = [i for d in of_part for i in [*tokenizer.encode([d.text])[0], 0]]
        kept = len(expected) // LENGTH * LENGTH
        dropped += len(expected) - kept
        assert tokens_of(tmp_path / "out" / part) == expected[:kept]
        assert values[part] == {
            "remote": None, "local": part, "first_sample": 0, "samples": kept // LENGTH, "tokens": kept,
            "documents": len(of_part), "bytes": values[part]["bytes"],
        }  # fmt: skip
        assert abs(values[part]["bytes"] - tokenizer.count_bytes(expected[:kept])) <= 2
    assert values["dropped_tail_tokens"] == dropped
    assert (values["documents"], values["bytes"]) == (60, sum(d.num_bytes for d in found))
    assert values["skipped"] == {"empty": 1, "broken": 0, "too_short": 0, "too_long": 0, "duplicate": 0}
    assert values["content_sha256"] == content_hash(source_of(plan, "text"), (tmp_path,))
    assert json.loads(json.dumps(values)) == values
    table = open_table(tmp_path / "out" / "train-documents.npy")
    trained = [d for d in found if not is_heldout(d.digest, 0.3)]
    lengths = [len(tokenizer.encode([d.text])[0]) + 1 for d in trained]
    assert table["tokens"][:-1].tolist() == lengths[: len(table) - 1]
    assert table["tokens"].sum() == values["train"]["tokens"]
    assert table["digest"].tolist() == [d.digest.rstrip(b"\0") for d in trained[: len(table)]]
    verify_prepared(tmp_path / "out", deep=True)


def test_it_is_the_same_bytes_each_time(tmp_path: Path, made: Result) -> None:
    """Two runs write the same shards and the same manifest."""
    write_files(tmp_path / "text", 20)
    for name in ("one", "two"):
        prepared(tmp_path, made, tmp_path / name)
    assert (tmp_path / "one" / "shards.json").read_bytes() == (tmp_path / "two" / "shards.json").read_bytes()


def test_a_copy_is_on_the_same_side(tmp_path: Path, made: Result) -> None:
    """Documents that stand twice are both trained on or both held out."""
    write_files(tmp_path / "text", 30, num_words=200)
    single = prepared(tmp_path, made, tmp_path / "one", evaluation={"holdout": 0.3, "max_tokens": 100_000})
    for path in sorted((tmp_path / "text").iterdir()):
        (path.parent / f"copy-{path.name}").write_text(path.read_text())
    twice = prepared(tmp_path, made, tmp_path / "two", evaluation={"holdout": 0.3, "max_tokens": 100_000})
    for part in ("train", "heldout"):
        assert twice[part]["documents"] == 2 * single[part]["documents"]


def test_heldout_text_over_the_limit_is_in_neither_split(tmp_path: Path, made: Result) -> None:
    """`max_tokens` cuts the held-out split; the rest is counted, and not trained on."""
    write_files(tmp_path / "text", 60)
    full = prepared(tmp_path, made, tmp_path / "full", evaluation={"holdout": 0.3, "max_tokens": 100_000})
    cut = prepared(tmp_path, made, tmp_path / "cut", evaluation={"holdout": 0.3, "max_tokens": 200})
    assert cut["heldout"]["tokens"] == 192
    assert cut["train"] == full["train"]
    assert cut["unused_heldout"]["documents"] + cut["heldout"]["documents"] == full["heldout"]["documents"]


def test_one_long_document(tmp_path: Path, made: Result) -> None:
    """A document longer than a piece is tokenized in pieces, and its end is held out."""
    (tmp_path / "text").mkdir()
    text = words(1, 400_000)
    (tmp_path / "text" / "book.txt").write_text(text)
    values = prepared(tmp_path, made, tmp_path / "out", evaluation={"holdout": 0.05, "max_tokens": 6400})
    table = open_table(tmp_path / "out" / "train-documents.npy")
    assert len(table) > 1
    assert len(set(table["digest"].tolist())) == 1
    assert table["tokens"].sum() == values["train"]["tokens"]
    train, heldout = tokens_of(tmp_path / "out" / "train"), tokens_of(tmp_path / "out" / "heldout")
    assert len(text) > 1 << 20
    assert len(heldout) == 6400
    assert text.startswith(load(made.folder).decode(train + heldout))
    assert values["heldout"]["bytes"] + values["train"]["bytes"] >= len(text.encode()) - 4 * LENGTH


def test_a_source_whose_documents_are_all_held_out(tmp_path: Path, made: Result) -> None:
    """When chance holds out the only document, only its end is held out, and it trains the tokenizer."""
    (tmp_path / "text").mkdir()
    seed = next(
        i for i in range(100) if is_heldout(hashlib.blake2b(words(i, 2000).encode(), digest_size=16).digest(), 0.1)
    )
    (tmp_path / "text" / "a.txt").write_text(words(seed, 2000))
    values = prepared(tmp_path, made, tmp_path / "out", evaluation={"holdout": 0.1, "max_tokens": 100_000})
    assert values["documents"] == values["train"]["documents"] == 1
    assert 0 < values["heldout"]["samples"] < values["train"]["samples"] / 5
    verify_prepared(tmp_path / "out", deep=True)
    plan = plan_of({"text": {"files": "text/*.txt"}}, evaluation={"holdout": 0.1})
    assert run_tokenizer(context_of(plan, tmp_path), tmp_path / "made").values["vocab_size"] == 300


def test_too_little_text_for_a_sample(tmp_path: Path, made: Result) -> None:
    """Text that fills no sample is an error that names the source; text for one sample is trained on."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("a few words")
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, made, tmp_path / "one")
    assert caught.value.code == "RC401"
    assert "`text` is too small" in caught.value.message
    (tmp_path / "text" / "a.txt").write_text("\N{SNOWMAN}" * 22)
    values = prepared(tmp_path, made, tmp_path / "two")
    assert (values["train"]["samples"], values["heldout"]["samples"], values["heldout"]["local"]) == (1, 0, None)


def test_a_broken_document_leaves_no_index(tmp_path: Path, made: Result) -> None:
    """When it stops half way, what lies there can't be read as a data set."""
    write_files(tmp_path / "text", 20)
    (tmp_path / "text" / "zz.txt").write_bytes(b"\0" * 9)
    with pytest.raises(DataError, match=r"zz\.txt: binary"):
        prepared(tmp_path, made, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.json"))


def test_a_large_vocabulary_is_stored_wide(tmp_path: Path, made: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids above 65535 fit: the column is uint32."""
    write_files(tmp_path / "text", 5)
    monkeypatch.setattr(prepare, "token_dtype", lambda _: "uint32")
    prepared(tmp_path, made, tmp_path / "out")
    assert rows(tmp_path / "out" / "train")[0].dtype == np.uint32


def test_identity_follows_content_and_rules(tmp_path: Path) -> None:
    """What changes the samples changes the identity; where the run executes doesn't."""
    write_files(tmp_path / "text", 3)

    def identity(files: str = "text/*.txt", **changes: Any) -> str:
        plan = plan_of({"text": {"files": files}}, **changes)
        return json.dumps(prepare.identity(plan.steps[1], context_of(plan, tmp_path), {}), sort_keys=True)

    before = identity()
    assert identity(execution={"workers": 9}, seed=3) == before
    assert identity(evaluation={"holdout": 0.3}) != before
    assert identity(data={"selection": {"min_bytes": 9}}) != before
    (tmp_path / "text" / "0000.txt").write_text("other")
    assert identity() != before


def test_ready_made_tokens_are_used_where_they_are(tmp_path: Path, made: Result) -> None:
    """Nothing is copied: training has the first samples, the last ones are held out."""
    write_mds(tmp_path / "ready", 90)
    values = prepared(
        tmp_path, made, tmp_path / "out", {"mds": "ready"}, evaluation={"holdout": 0.1, "max_tokens": 5 * LENGTH}
    )
    remote = str(tmp_path / "ready")
    assert values["train"] == {
        "remote": remote, "local": None, "first_sample": 0, "samples": 85, "tokens": 85 * LENGTH,
        "documents": None, "bytes": None,
    }  # fmt: skip
    assert (values["heldout"]["first_sample"], values["heldout"]["samples"]) == (85, 5)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shards.json"]
    verify_prepared(tmp_path / "out", deep=True)
    (tmp_path / "ready" / "shard.00001.mds").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"shard\.00001\.mds has 3 bytes") as caught:
        verify_prepared(tmp_path / "out")
    assert caught.value.code == "RC408"


@pytest.mark.parametrize(
    ("written", "source", "changes", "code", "message"),
    [
        ({}, {"column": "ids"}, {}, "RC411", "no column `ids`; it has `tokens`"),
        ({}, {}, {"data": {"sequence_length": 32}}, "RC411", r"have the shape \(64,\); the plan's have 32"),
        ({"encoding": "str"}, {}, {}, "RC411", "is `str`, not an array of token ids"),
        ({"top": 300}, {}, {}, "RC406", "holds the token id 300, the tokenizer has 300"),
    ],
)
def test_ready_made_tokens_that_do_not_fit(
    tmp_path: Path,
    made: Result,
    written: dict[str, Any],
    source: dict[str, Any],
    changes: dict[str, Any],
    code: str,
    message: str,
) -> None:
    """A wrong column, length, type or id is found before training."""
    if written.get("encoding") == "str":
        with MDSWriter(columns={"tokens": "str"}, out=str(tmp_path / "ready")) as out:
            out.write({"tokens": "text"})
    else:
        write_mds(tmp_path / "ready", 9, **written)
    if length := changes.get("data", {}).get("sequence_length"):
        share = {"samples": 96 * LENGTH // length, "tokens": 96 * LENGTH}
        phase = {"id": "phase0", "start_token": 0, "end_token": 96 * LENGTH, "sources": {"text": share}}
        changes = {
            "data": {"sequence_length": length, "phases": [phase]},
            "training": {"global_batch_samples": 8 * LENGTH // length},
        }
    with pytest.raises(DataError, match=message) as caught:
        prepared(tmp_path, made, tmp_path / "out", {"mds": "ready", **source}, **changes)
    assert caught.value.code == code


def test_ready_made_text_is_tokenized(tmp_path: Path, made: Result) -> None:
    """`content: text` reads documents from shards, packed ones too; a damaged shard is named."""
    with MDSWriter(
        columns={"body": "str"}, out=str(tmp_path / "ready"), hashes=["sha1"], compression="zstd", size_limit=4096
    ) as out:
        for i in range(60):
            out.write({"body": words(i, 60)})
    write_files(tmp_path / "text", 60)
    source = {"mds": "ready", "column": "body", "content": "text"}
    values = prepared(tmp_path, made, tmp_path / "one", source)
    plain = prepared(tmp_path, made, tmp_path / "two")
    assert {**values, "content_sha256": ""} == {**plain, "content_sha256": ""}
    assert tokens_of(tmp_path / "one" / "train") == tokens_of(tmp_path / "two" / "train")
    shard = sorted((tmp_path / "ready").glob("*.mds.zstd"))[1]
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=shard.name) as caught:
        prepared(tmp_path, made, tmp_path / "three", source)
    assert caught.value.code == "RC408"
