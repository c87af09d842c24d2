"""Documents: found where the recipe says, read whole, left out with a count, or refused with their place."""

from __future__ import annotations

import glob
import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from runtime.data.documents import Document, Skipped, documents, is_heldout
from runtime.data.identity import checked_hash, content_hash
from runtime.data.locate import expand, find_files
from runtime.errors import DataError
from runtime.files import mark_cache
from schemas.data import Selection
from schemas.sources import Source


def source_from(**fields: Any) -> Source:
    """A source as a recipe would write it."""
    source: Source = TypeAdapter(Source).validate_python(fields)
    return source


def read(source: Source, root: Path, **selection: Any) -> tuple[list[Document], dict[str, int]]:
    """All documents, and the counts of what was left out."""
    skipped = Skipped()
    found = list(documents(source, (root,), Selection(**selection), skipped))
    return found, {reason: count for reason, count in skipped.as_dict().items() if count}


def texts(source: Source, root: Path) -> list[str]:
    """Only their texts."""
    return [document.text for document in read(source, root)[0]]


def failure(source: Source, root: Path) -> DataError:
    """The error that reading ends with."""
    with pytest.raises(DataError) as caught:
        read(source, root)
    return caught.value


def test_wildcards_pass_over_what_runs_write(tmp_path: Path) -> None:
    """Runs, jobs and the cache beside the recipe are no documents, unless a pattern names them; a plan.yaml alone is one."""
    source = source_from(files="**/*")
    (tmp_path / "notes").mkdir()
    for name in ("notes/a.txt", "notes/plan.yaml", "top.txt"):
        (tmp_path / name).write_text(name)
    before = content_hash(source, (tmp_path,))
    mark_cache(tmp_path / "runs" / "cache")
    (tmp_path / "runs" / "mine-1f2e3d4c").mkdir()
    (tmp_path / "runs" / "mine-1f2e3d4c" / "lock").touch()
    for folder, inside in (("runs/mine-1f2e3d4c", "steps"), ("generated/mine-1f2e3d4c", "launch")):
        (tmp_path / folder / inside).mkdir(parents=True)
        (tmp_path / folder / "plan.yaml").write_text("a plan")
        (tmp_path / folder / inside / "b.txt").write_text("output")
    (tmp_path / "runs" / "cache" / "b.txt").write_text("output")
    assert content_hash(source, (tmp_path,)) == before
    assert sorted(texts(source, tmp_path)) == ["notes/a.txt", "notes/plan.yaml", "top.txt"]
    assert failure(source_from(files="*/*/*/b.txt"), tmp_path).code == "RC401"
    assert texts(source_from(files="runs/mine-1f2e3d4c/**/*.txt"), tmp_path) == ["output"]


def test_a_cache_is_marked_once_where_it_can_be(tmp_path: Path) -> None:
    """The mark is that of bford.info/cachedir, written once; a folder that can't be written to stays as it is."""
    mark_cache(tmp_path / "cache")
    tag = tmp_path / "cache" / "CACHEDIR.TAG"
    assert tag.read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    written = tag.stat().st_mtime_ns
    mark_cache(tmp_path / "cache")
    assert tag.stat().st_mtime_ns == written
    (tmp_path / "file").touch()
    mark_cache(tmp_path / "file" / "cache")


def test_files_are_sorted_and_unpacked(tmp_path: Path) -> None:
    """Plain, gzip and zstd files are documents in the order of their names; folders that match are passed over."""
    (tmp_path / "b.txt").write_text("bee")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"ay"))
    (tmp_path / "c.txt.zst").write_bytes(zstandard.compress(b"ce") + zstandard.compress(b"e"))
    (tmp_path / "d.txt").mkdir()
    assert texts(source_from(files="*.txt*"), tmp_path) == ["ay", "bee", "cee"]


def test_the_first_root_with_a_match_wins(tmp_path: Path) -> None:
    """A relative pattern is looked up below each root in turn."""
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "x.md").write_text("two")
    (tmp_path / "three" / "x.md").write_text("three")
    roots = tuple(tmp_path / name for name in ("one", "two", "three"))
    assert [file.path.parent.name for file in find_files("*.md", roots)] == ["two"]
    assert [file.name for file in find_files(str(tmp_path / "*" / "x.md"), roots)] == ["three/x.md", "two/x.md"]


def test_no_match_names_the_pattern_and_the_roots(tmp_path: Path) -> None:
    """A pattern without a file says where it was looked for; a folder says how to write it."""
    error = failure(source_from(files="docs/**/*.md"), tmp_path)
    assert error.code == "RC401"
    assert "`docs/**/*.md`" in error.message
    assert str(tmp_path) in error.message
    (tmp_path / "docs").mkdir()
    assert "docs/**/*" in failure(source_from(files="docs"), tmp_path).remedy


def test_links_that_loop_are_followed_once(tmp_path: Path) -> None:
    """Folders that link to each other give each file once, under its own name."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f.txt").write_text(name)
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path)
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    assert [file.name for file in expand("**/*.txt", tmp_path)] == ["a/f.txt", "b/f.txt"]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.sets(st.lists(st.sampled_from(["a", "b", ".c", "d.txt"]), min_size=1, max_size=3).map(tuple), max_size=6))
def test_globs_agree_with_pythons_own(tmp_path_factory: pytest.TempPathFactory, paths: set[tuple[str, ...]]) -> None:
    """Without links, the files found are those of `glob`."""
    root = tmp_path_factory.mktemp("glob")
    for path in sorted(paths):
        if (
            not any((root / Path(*path[:i])).is_file() for i in range(1, len(path)))
            and not (root / Path(*path)).exists()
        ):
            (root / Path(*path)).parent.mkdir(parents=True, exist_ok=True)
            (root / Path(*path)).write_text("x")
    for pattern in ("*", "**/*", "a/**/*.txt", "**/b/**/*", "[ab]/?", "**", "a/*/d.txt", ".c/*"):
        expected = sorted(
            {name for name in glob.glob(pattern, root_dir=root, recursive=True) if (root / name).is_file()}
        )
        assert [file.name for file in expand(pattern, root)] == expected, pattern


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.txt", b"text\0more", "NUL byte at byte 4"),
        ("a.txt", b"caf\xe9", "not UTF-8 text (byte 3)"),
        ("a.txt.gz", gzip.compress(b"x" * 9999, mtime=0)[:-9], "Truncated"),
        ("a.txt.zst", zstandard.compress(os.urandom(9999))[:-9], "Truncated"),
        ("a.txt.gz", b"not gzip", "zlib"),
    ],
)
def test_a_file_that_is_not_text_stops_or_is_counted(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    """A binary or cut file is named with its reason; `on_error: skip` counts it."""
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.txt").write_text("good")
    error = failure(source_from(files="*"), tmp_path)
    assert (error.code, error.exit_code) == ("RC407", 1)
    assert f"{tmp_path / name}: " in error.message
    assert reason in error.message
    found, skipped = read(source_from(files="*", on_error="skip"), tmp_path)
    assert [document.text for document in found] == ["good"]
    assert skipped == {"broken": 1}


@pytest.mark.parametrize(
    ("line", "place", "reason"),
    [
        ('{"text": "a" "b"}', ":3:14", "not JSON"),
        ('{"body": "a"}', ":3", "no key `text`; the line has `body`"),
        ('{"text": 7}', ":3", "`text` is int, not text"),
        ("[1]", ":3", "not a JSON object"),
        ('{"text": "\\ud800"}', ":3", "surrogate"),
        ("[" * 100_000, ":3", "not JSON"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, place: str, reason: str) -> None:
    """A line of JSONL that can't be used is named by file, line and, where it isn't JSON, column."""
    (tmp_path / "x.jsonl").write_text('{"text": "one"}\n\n' + line + '\n{"text": "two"}\n')
    error = failure(source_from(jsonl="x.jsonl"), tmp_path)
    assert error.code == "RC407"
    assert f"x.jsonl{place}: " in error.message
    assert reason in error.message
    found, skipped = read(source_from(jsonl="x.jsonl", on_error="skip"), tmp_path)
    assert [document.text for document in found] == ["one", "two"]
    assert skipped == {"broken": 1}


def test_packed_jsonl_and_another_column(tmp_path: Path) -> None:
    """.jsonl.zst is read line by line; `text:` names the key."""
    lines = "".join(json.dumps({"content": f"document {i}"}) + "\n" for i in range(50))
    (tmp_path / "x.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    found = texts(source_from(jsonl="*.jsonl.zst", text="content"), tmp_path)
    assert found == [f"document {i}" for i in range(50)]


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """40 MB of packed JSONL pass through in a few MB."""
    line = json.dumps({"text": "word " * 2000}).encode() + b"\n"
    (tmp_path / "x.jsonl.zst").write_bytes(zstandard.compress(line * 4000))
    stream = documents(source_from(jsonl="*.zst"), (tmp_path,), Selection(), Skipped())
    next(stream)
    tracemalloc.start()
    count = sum(1 for _ in stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 3999
    assert peak < 4_000_000


def test_parquet_rows(tmp_path: Path) -> None:
    """Rows of all row groups are documents; null is empty; a missing column is named with those that exist."""
    table = pa.table({"body": [f"row {i}" for i in range(200)] + [None], "n": list(range(201))})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=17)
    found, skipped = read(source_from(parquet="*.parquet", text="body"), tmp_path)
    assert [document.text for document in found] == [f"row {i}" for i in range(200)]
    assert found[0].place.endswith("x.parquet:row 1")
    assert skipped == {"empty": 1}
    error = failure(source_from(parquet="*.parquet"), tmp_path)
    assert error.code == "RC407"
    assert "it has `body`, `n`" in error.message
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    assert "not readable as Parquet" in failure(source_from(parquet="*.parquet"), tmp_path).message


def test_a_saved_hugging_face_data_set(tmp_path: Path) -> None:
    """A folder of `save_to_disk` is read by split and column; what it lacks is named."""
    import datasets

    part = datasets.Dataset.from_dict({"body": ["one", "two"]})
    datasets.DatasetDict({"train": part, "test": part.select([1])}).save_to_disk(str(tmp_path / "saved"))
    assert texts(source_from(hf="saved", split="test", text="body"), tmp_path) == ["two"]
    assert "`dev`; it has train, test" in failure(source_from(hf="saved", split="dev"), tmp_path).message
    assert "no column `text`; it has `body`" in failure(source_from(hf="saved"), tmp_path).message
    (tmp_path / "empty").mkdir()
    assert failure(source_from(hf="empty"), tmp_path).code == "RC401"


def test_a_hub_that_is_out_of_reach(tmp_path: Path) -> None:
    """Offline, a data set of the hub is a failure of the environment, with what to do instead."""
    code = (
        "from runtime.data import hub; from runtime.errors import RunError; from schemas.sources import HubSource\n"
        "try: hub.hub_identity(HubSource(hf='nobody/nothing'), offline=True)\n"
        "except RunError as error: print(error.code, error.exit_code, error.message, error.remedy)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("RC607 3 the hub can't be reached for the data set `nobody/nothing`")
    assert "save_to_disk" in done.stdout


def test_builtin_text_is_real(tmp_path: Path) -> None:
    """The library is its source without tests; the docs are topics and docstrings, never imported modules."""
    library = iter(documents(source_from(builtin="cpython-library"), (tmp_path,), Selection(), Skipped()))
    places = [next(library).place for _ in range(300)]
    assert places == sorted(places)
    assert not any("/test/" in place or "site-packages" in place for place in places)
    by_place = {
        document.place: document.text
        for document in documents(source_from(builtin="cpython-docs"), (tmp_path,), Selection(), Skipped())
    }
    assert "pydoc topic while" in " ".join(by_place)
    assert by_place["docstrings of json/decoder.py"].startswith("json.decoder\n\nImplementation of JSONDecoder")
    assert "json.decoder.JSONDecoder.decode\n\n" in by_place["docstrings of json/decoder.py"]
    names = list(documents(source_from(builtin="cpython-unicode"), (tmp_path,), Selection(), Skipped()))
    assert "U+00E9 latin small letter e with acute\n" in names[0].text
    assert sum(document.num_bytes for document in names) > 500_000


def test_selection_counts_what_it_leaves_out(tmp_path: Path) -> None:
    """Empty, short, long and repeated documents are left out and counted, the first of equal ones is kept."""
    for name, text in {"a": " \n", "b": "ab", "c": "abcdef", "d": "é" * 5, "e": "abcdef", "f": "x" * 99}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    found, skipped = read(source_from(files="*"), tmp_path, min_bytes=3, max_bytes=10, deduplicate="exact")
    assert [document.text for document in found] == ["abcdef", "é" * 5]
    assert [document.num_bytes for document in found] == [6, 10]
    assert skipped == {"empty": 1, "too_short": 1, "too_long": 1, "duplicate": 1}


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    """Files without any text are a source without data; the message counts why."""
    (tmp_path / "a.txt").write_text("")
    error = failure(source_from(files="*.txt"), tmp_path)
    assert error.code == "RC401"
    assert "1 empty" in error.message


def test_scattered_files_are_the_same_documents(tmp_path: Path) -> None:
    """The scattered order is another order of the same documents, the same each time."""
    for i in range(20):
        (tmp_path / f"{i:02d}.txt").write_text(f"text {i}")
    source = source_from(files="*.txt")
    plain = texts(source, tmp_path)
    scattered = [d.text for d in documents(source, (tmp_path,), Selection(), Skipped(), scattered=True)]
    assert scattered != plain
    assert sorted(scattered) == sorted(plain)
    assert scattered == [d.text for d in documents(source, (tmp_path,), Selection(), Skipped(), scattered=True)]


def test_the_heldout_share_depends_on_the_text_alone(tmp_path: Path) -> None:
    """About the share asked for is held out, more of it as the share grows, and none or all at its ends."""
    for i in range(500):
        (tmp_path / f"{i:03d}").write_text(f"text {i}")
    digests = [document.digest for document in read(source_from(files="*"), tmp_path)[0]]
    held = {share: {d for d in digests if is_heldout(d, share)} for share in (0.0, 0.1, 0.3, 1.0)}
    assert [len(held[0.0]), len(held[1.0])] == [0, 500]
    assert 30 < len(held[0.1]) < 75
    assert held[0.1] < held[0.3]


def test_the_content_hash_is_of_names_and_bytes(tmp_path: Path) -> None:
    """It is equal in another folder, and differs when a byte or a name does."""
    hashes = []
    for folder, name, text in (("x", "a", "1"), ("y/z", "a", "1"), ("v", "a", "2"), ("w", "b", "1")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{name}.txt").write_text(text)
        hashes.append(content_hash(source_from(files="*.txt"), (tmp_path / folder,)))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_pinned_content_that_changed_is_refused(tmp_path: Path) -> None:
    """`sha256` of a source is compared; the error shows both hashes."""
    (tmp_path / "a.txt").write_text("one")
    found = content_hash(source_from(files="a.txt"), (tmp_path,))
    assert checked_hash("web", source_from(files="a.txt", sha256=found), (tmp_path,)) == found
    with pytest.raises(DataError) as caught:
        checked_hash("web", source_from(files="a.txt", sha256="0" * 64), (tmp_path,))
    assert caught.value.code == "RC409"
    assert found in caught.value.message
    assert "0" * 64 in caught.value.message
