"""The tokenizer step: exact vocabulary, exact text, the same bytes each time, and loaded by transformers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import DataError
from runtime.files import hash_file
from runtime.steps import tokenizer as step_module
from runtime.steps.base import Result
from runtime.steps.tokenizer import EOS
from runtime.tokenizer import TextTokenizer, load, pieces
from tests.runtime.corpus import VOCAB_SIZE, context_of, plan_of, run_tokenizer, words, write_files

_TRAIN = """
import sys
from runtime.steps.tokenizer import train_bpe
from tests.runtime.corpus import words
sys.stdout.write(train_bpe((words(i, 2000) for i in range(20)), 300).to_str())
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A tokenizer of 300 tokens, trained on a small corpus."""
    root = tmp_path_factory.mktemp("tokenizer")
    write_files(root / "text", 30)
    return run_tokenizer(context_of(plan_of({"text": {"files": "text/*.txt"}}), root), root / "made")


@pytest.fixture(scope="module")
def loaded(made: Result) -> TextTokenizer:
    """The same, loaded."""
    return load(made.folder)


def test_values_say_what_was_made(made: Result, loaded: TextTokenizer) -> None:
    """The vocabulary is exactly the plan's, the end-of-text token is id 0, and the hash is the file's."""
    assert made.values["vocab_size"] == loaded.vocab_size == VOCAB_SIZE
    assert made.values["eos_token_id"] == loaded.eos_token_id == 0
    assert made.values["content_sha256"] == hash_file(made.folder / "tokenizer.json")


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.text())
def test_every_text_comes_back(loaded: TextTokenizer, text: str) -> None:
    """Byte-level BPE encodes every text and decodes it to itself, whatever characters it has."""
    ids = loaded.encode([text])[0]
    assert loaded.decode(ids) == text
    assert loaded.count_bytes(ids) == len(text.encode())


def test_a_document_can_not_end_itself(loaded: TextTokenizer) -> None:
    """The end-of-text token written in a text is plain text."""
    ids = loaded.encode([f"a{EOS}b"])[0]
    assert loaded.eos_token_id not in ids
    assert loaded.decode(ids) == f"a{EOS}b"


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(0, 99), st.integers(20, 400))
def test_pieces_do_not_change_tokens(loaded: TextTokenizer, seed: int, limit: int) -> None:
    """A text cut into pieces has the tokens of the whole, where lines end in words."""
    text = words(seed, 300).replace(" ", "\n")
    parts = list(pieces(text, limit))
    assert "".join(parts) == text
    assert all(len(part) <= limit for part in parts)
    assert [i for part in loaded.encode(parts) for i in part] == loaded.encode([text])[0]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.text(alphabet="ab \n\t", max_size=200), st.integers(2, 50))
def test_pieces_are_the_text(text: str, limit: int) -> None:
    """Pieces put together are the text, and none is longer than asked for."""
    parts = list(pieces(text, limit))
    assert "".join(parts) == text
    assert all(len(part) <= limit for part in parts)


def test_training_is_the_same_with_any_number_of_threads() -> None:
    """One thread and four give the same tokenizer to the byte, in other processes with other hash seeds."""
    made = set()
    for threads, seed in (("1", "1"), ("4", "2")):
        environment = os.environ | {
            "RAYON_NUM_THREADS": threads,
            "PYTHONHASHSEED": seed,
            "TOKENIZERS_PARALLELISM": "true",
        }
        made.add(
            subprocess.run([sys.executable, "-c", _TRAIN], env=environment, capture_output=True, check=True).stdout
        )
    assert len(made) == 1
    assert json.loads(made.pop())["model"]["vocab"][EOS] == 0


def test_transformers_loads_it(made: Result, loaded: TextTokenizer) -> None:
    """`AutoTokenizer` gives the same ids, and knows the end-of-text token."""
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(made.folder)
    text = "the river walks\n\tunder x = 1"
    assert theirs(text)["input_ids"] == loaded.encode([text])[0]
    assert (theirs.eos_token, theirs.eos_token_id, len(theirs)) == (EOS, 0, VOCAB_SIZE)


def test_too_little_text_for_the_vocabulary(tmp_path: Path) -> None:
    """The error says the largest vocabulary that the text gives, and that one works."""
    write_files(tmp_path, 2)
    plan = plan_of({"text": {"files": "*.txt"}}, tokenizer={"vocab_size": 5000}, model={"vocab_size": 5000})
    with pytest.raises(DataError) as caught:
        run_tokenizer(context_of(plan, tmp_path), tmp_path / "made")
    assert caught.value.code == "RC406"
    largest = int(caught.value.message.split("it gives ")[1].split()[0])
    plan = plan_of({"text": {"files": "*.txt"}}, tokenizer={"vocab_size": largest})
    assert run_tokenizer(context_of(plan, tmp_path), tmp_path / "again").values["vocab_size"] == largest


def test_heldout_documents_and_quotas_are_respected(tmp_path: Path) -> None:
    """Training reads no held-out document, and each source up to its share of `max_bytes`."""
    write_files(tmp_path / "a", 40)
    write_files(tmp_path / "b", 40)
    plan = plan_of(
        {"a": {"files": "a/*.txt"}, "b": {"files": "b/*.txt"}},
        tokenizer={"max_bytes": 4000},
        evaluation={"holdout": 0.0},
    )
    text = list(step_module._training_text(context_of(plan, tmp_path)))
    assert 4000 <= sum(len(part.encode()) for part in text) < 4010
    everything = plan_of({"a": {"files": "a/*.txt"}}, evaluation={"holdout": 0.5})
    used = set(step_module._training_text(context_of(everything, tmp_path)))
    assert 5 < len(used) < 35


def test_identity_follows_the_text(tmp_path: Path) -> None:
    """What changes the tokenizer changes its identity; how the run executes doesn't."""
    write_files(tmp_path, 3)

    def identity(**changes: object) -> str:
        plan = plan_of({"text": {"files": "*.txt"}}, **changes)
        return json.dumps(step_module.identity(plan.steps[0], context_of(plan, tmp_path), {}), sort_keys=True)

    before = identity()
    assert identity() == before
    assert identity(execution={"workers": 7}) == before
    assert identity(tokenizer={"vocab_size": 299}) != before
    assert identity(evaluation={"holdout": 0.2}) != before
    (tmp_path / "0001.txt").write_text("another text")
    assert identity() != before


def test_a_pretrained_folder_is_copied(made: Result, tmp_path: Path) -> None:
    """A tokenizer of a folder is used as it is, if its size is the plan's."""
    shutil.copytree(made.folder, tmp_path / "mine")
    (tmp_path / "x.txt").write_text("x")

    def run(vocab_size: int, path: str = "mine") -> Result:
        plan = plan_of(
            {"text": {"files": "x.txt"}}, tokenizer={"kind": "pretrained", "path": path, "vocab_size": vocab_size}
        )
        return run_tokenizer(context_of(plan, tmp_path), tmp_path / f"made{vocab_size}{path}")

    values = run(VOCAB_SIZE).values
    assert (values["vocab_size"], values["eos_token_id"]) == (VOCAB_SIZE, 0)
    with pytest.raises(DataError, match="has 300 tokens, the plan was made for 400"):
        run(400)
    with pytest.raises(DataError, match="no tokenizer folder `nowhere`"):
        run(VOCAB_SIZE, "nowhere")
    config = json.loads((tmp_path / "mine" / "tokenizer_config.json").read_text())
    del config["eos_token"]
    (tmp_path / "mine" / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "mine" / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(DataError, match="no end-of-text token"):
        run(VOCAB_SIZE - 1)
    (tmp_path / "mine" / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError) as caught:
        run(VOCAB_SIZE - 2)
    assert caught.value.code == "RC406"


def test_gaps_in_the_ids_need_rows_too(made: Result, tmp_path: Path) -> None:
    """A vocabulary whose highest id is 399 needs 400 rows of the embedding, however many tokens it has."""
    folder = tmp_path / "gaps"
    shutil.copytree(made.folder, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last] = 399
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert load(folder).vocab_size == 400
