"""Shards: damage is found and named before training; an object store works as a folder does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import merge_index

from runtime.data.mds import read_index, texts
from runtime.data.shards import SampleWriter, verify_prepared, write_manifest
from runtime.errors import DataError, RunFailed
from runtime.fetching.shard_index import open_shards
from runtime.steps.base import Result
from schemas.sources import MdsSource
from tests.runtime.corpus import context_of, plan_of, run_prepare, run_tokenizer, words, write_files
from tests.runtime.ports import free_port, wait_for

LENGTH = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared folder of one split."""
    with SampleWriter(tmp_path / "train", dtype="uint16", sequence_length=LENGTH) as out:
        for i in range(40):
            out.write(np.full(LENGTH, i, np.uint16))
    write_manifest(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Streaming leaves files open
def test_streaming_reads_and_validates(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stock StreamingDataset reads the shards with their hashes."""
    cache = tmp_path_factory.mktemp("cache")
    data = StreamingDataset(
        remote=str(folder / "train"), local=str(cache), validate_hash="xxh64", batch_size=1, shuffle=False
    )
    assert [int(row["tokens"][0]) for row in data] == list(range(40))


def test_no_sample_no_folder(tmp_path: Path) -> None:
    """A split without samples leaves nothing that could be opened."""
    with SampleWriter(tmp_path / "heldout", dtype="uint16", sequence_length=LENGTH):
        pass
    assert not (tmp_path / "heldout").exists()


def test_truncated_missing_and_changed_shards(folder: Path) -> None:
    """Sizes are compared always, bytes when asked for; the error names the shard and what to delete."""
    verify_prepared(folder, deep=True)
    shard = folder / "train" / "shard.00000.mds"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + b"?")
    verify_prepared(folder)
    with pytest.raises(DataError, match="is not what was written"):
        verify_prepared(folder, deep=True)
    shard.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=f"{shard} has {len(whole) - 1} bytes") as caught:
        verify_prepared(folder)
    assert (caught.value.code, caught.value.exit_code) == ("RC408", 1)
    assert str(folder) in caught.value.remedy
    shard.unlink()
    with pytest.raises(DataError, match="is missing"):
        verify_prepared(folder)
    (folder / "shards.json").write_text("{")
    with pytest.raises(DataError, match="missing or damaged"):
        verify_prepared(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"shards": [1]}', '{"shards": [{"format": "csv"}]}'])
def test_a_damaged_index(tmp_path: Path, text: str) -> None:
    """What is no index of MDS shards is named, whatever it is."""
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(DataError, match=r"index\.json is damaged") as caught:
        read_index(MdsSource(mds=str(tmp_path)), ())
    assert caught.value.code == "RC408"


def test_no_index_and_no_folder(tmp_path: Path) -> None:
    """A wrong path says where it was looked for."""
    with pytest.raises(DataError, match=r"holds no index\.json"):
        read_index(MdsSource(mds=str(tmp_path)), ())
    with pytest.raises(DataError, match=f"no folder `nowhere`; looked in {tmp_path}"):
        read_index(MdsSource(mds="nowhere"), (tmp_path,))


def test_pickled_columns_are_refused(tmp_path: Path) -> None:
    """A column that could run code when it is read is not read."""
    with MDSWriter(columns={"tokens": "pkl"}, out=str(tmp_path / "ready")) as out:
        out.write({"tokens": [1, 2]})
    write_files(tmp_path / "text", 20)
    plan = plan_of({"text": {"files": "text/*.txt"}, "ready": {"mds": "ready"}})
    context = context_of(plan, tmp_path)
    made = run_tokenizer(context, tmp_path / "tokenizer")
    with pytest.raises(DataError, match="unsafe type") as caught:
        run_prepare(context, "ready", made, tmp_path / "out")
    assert caught.value.code == "RC411"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """URL of a bucket on a real S3-compatible server, which the environment points to."""
    port = free_port()
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        try:
            wait_for(port)
            import boto3

            boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}").create_bucket(Bucket="corpus")
            yield "s3://corpus"
        finally:
            server.terminate()
            server.wait()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A tokenizer of 300 tokens."""
    root = tmp_path_factory.mktemp("tokenizer")
    write_files(root / "text", 30)
    return run_tokenizer(context_of(plan_of({"text": {"files": "text/*.txt"}}), root), root / "made")


def test_tokens_in_an_object_store(bucket: str, made: Result, tmp_path: Path) -> None:
    """`mds: s3://...` is checked by one shard, and left where it is; its index pins it."""
    with MDSWriter(
        columns={"tokens": f"ndarray:uint16:{LENGTH}"}, out=f"{bucket}/web", hashes=["sha1"], size_limit=4096
    ) as out:
        for i in range(60):
            out.write({"tokens": np.full(LENGTH, i, np.uint16)})
    plan = plan_of({"web": {"mds": f"{bucket}/web/"}}, evaluation={"holdout": 0.1})
    values = run_prepare(context_of(plan, tmp_path), "web", made, tmp_path / "out")
    assert values["train"]["remote"] == values["heldout"]["remote"] == f"{bucket}/web"
    assert (values["train"]["samples"], values["heldout"]["first_sample"], values["heldout"]["samples"]) == (54, 54, 6)
    assert values["content_sha256"] == read_index(MdsSource(mds=f"{bucket}/web"), ()).sha256
    verify_prepared(tmp_path / "out", deep=True)
    assert json.loads((tmp_path / "out" / "shards.json").read_text())["ready_made"]["remote"] == f"{bucket}/web"


def test_text_in_an_object_store(bucket: str, made: Result, tmp_path: Path) -> None:
    """Documents in a bucket are tokenized, one shard on this disk at a time."""
    with MDSWriter(columns={"text": "str"}, out=f"{bucket}/prose", size_limit=4096) as out:
        for i in range(60):
            out.write({"text": words(i, 60)})
    plan = plan_of({"prose": {"mds": f"{bucket}/prose", "column": "text", "content": "text"}})
    values = run_prepare(context_of(plan, tmp_path), "prose", made, tmp_path / "out")
    assert values["documents"] == 60
    assert values["train"]["local"] == "train"


def test_what_is_not_in_the_store(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address is the recipe's fault, a store that doesn't answer is the environment's."""
    with pytest.raises(DataError, match=r"s3://corpus/nothing/index\.json") as caught:
        read_index(MdsSource(mds=f"{bucket}/nothing"), ())
    assert caught.value.code == "RC401"
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RunFailed, match="can't be reached") as failed:
        read_index(MdsSource(mds=f"{bucket}/web"), ())
    assert failed.value.code == "RC607"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Streaming leaves files open
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_an_index_of_merged_folders(tmp_path: Path, compression: str | None) -> None:
    """Streaming's `merge_index` names shards with their folders: text is found there, and so are samples."""
    for number in range(2):
        columns = {"text": "str"}
        with MDSWriter(out=str(tmp_path / "all" / str(number)), columns=columns, compression=compression) as out:
            out.write({"text": f"text {number}"})
    merge_index(str(tmp_path / "all"))
    assert [text for _, text in texts(MdsSource(mds="all", content="text", column="text"), (tmp_path,))] == [
        "text 0",
        "text 1",
    ]
    readers = open_shards(tmp_path / "all", allow_unsafe_types=False)
    assert [reader.file_pairs[0][0].basename for reader in readers] == ["0/shard.00000.mds", "1/shard.00000.mds"]
