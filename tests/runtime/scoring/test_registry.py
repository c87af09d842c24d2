"""The registry of metrics: complete, undefined where it says so, and keyed by all that the numbers depend on."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from runtime.errors import DataError
from runtime.scoring.compression import compression_ratio
from runtime.scoring.registry import METRICS, open_scorer, settings
from schemas.curriculum import Metric
from schemas.fingerprint import canonical_json
from tests.runtime.scoring.tiny_model import WORDS, write_model

PLAIN = sorted(set(METRICS) - {"loss"})


def test_every_metric_of_the_language_has_a_function() -> None:
    """Neither list has a name that the other lacks."""
    assert set(METRICS) == set(get_args(Metric))


@pytest.mark.parametrize("metric", PLAIN)
def test_scores_of_real_and_of_hopeless_texts(metric: Metric) -> None:
    """A long text has a number, in its place among others; too short a one has NaN where the metric needs more."""
    text = "The quick brown fox jumps over the lazy dog, and nobody knows why. " * 9
    found = open_scorer(metric, None)([text, "!", text])
    assert math.isfinite(found[0])
    assert found[0] == found[2]
    assert math.isnan(found[1]) == (metric not in ("length", "compression_ratio"))


@pytest.mark.parametrize(("metric", "fewest"), [("mtld", 50), ("hdd", 42), ("vocd", 51), ("ttr", 1)])
def test_fewest_words(metric: Metric, fewest: int) -> None:
    """One word less than a metric needs is NaN."""
    scorer = open_scorer(metric, None)
    texts = [" ".join("abcdefghij"[i % 10] for i in range(n)) for n in (fewest - 1, fewest)]
    assert [math.isnan(value) for value in scorer(texts)] == [True, False]


def test_length_is_bytes() -> None:
    """Of UTF-8."""
    assert open_scorer("length", None)(["a", "naïve", "\N{SNOWMAN}"]) == [1, 6, 3]


def test_compression() -> None:
    """What repeats compresses, noise doesn't; the order of a text's words matters, its count of copies hardly."""
    fox = b"the quick brown fox jumps over the lazy dog. "
    assert compression_ratio(fox * 20) < 0.08
    assert compression_ratio(fox * 2000) < 0.002
    assert compression_ratio(bytes(range(256)) * 4) == pytest.approx(0.25, abs=0.03)
    assert compression_ratio(b"a word") > 1
    assert math.isnan(compression_ratio(b""))


def test_settings_name_what_a_score_depends_on(tmp_path: Path) -> None:
    """No two metrics share scores; a model counts by its content, wherever it is."""
    keys = [canonical_json(settings(metric, None)) for metric in PLAIN]
    assert len(set(keys)) == len(PLAIN)
    one, same, other = (write_model(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert settings("loss", one) == settings("loss", same)
    assert settings("loss", one) != settings("loss", other)


def test_loss_is_the_models_own(tmp_path: Path) -> None:
    """Nats per token as the model gives them one document at a time; long documents in windows that share a token."""
    import torch
    from tokenizers import Tokenizer

    from runtime.models.frozen import load_frozen
    from runtime.scoring.loss import LossScorer

    folder = write_model(tmp_path / "model", 3)
    model, tokenizer = load_frozen(folder, "the model"), Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [" ".join(WORDS[(i * i + n) % len(WORDS)] for i in range(n)) for n in (2, 5, 31, 32, 33, 100, 7)]

    def by_hand(text: str) -> float:
        ids, total = tokenizer.encode(text).ids, 0.0
        for start in range(0, len(ids) - 1, 31):
            window = torch.tensor([ids[start : start + 32]])
            logits = model(input_ids=window).logits[0, :-1]
            total += float(torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum"))
        return total / (len(ids) - 1)

    with torch.no_grad():
        expected = [by_hand(text) for text in texts]
    assert LossScorer(folder)(texts) == pytest.approx(expected, rel=1e-5)
    assert math.isnan(LossScorer(folder)([WORDS[0]])[0])


def test_a_model_that_cannot_read(tmp_path: Path) -> None:
    """No weights, or no tokenizer beside them: said with the folder and the remedy."""
    folder = write_model(tmp_path / "model", 1)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"tokenizer\.json") as caught:
        open_scorer("loss", folder)
    assert caught.value.code == "RC406"
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"the model that scores in .*model can't be loaded") as caught:
        open_scorer("loss", folder)
    assert caught.value.code == "RC401"


def test_scoring_text_needs_no_torch() -> None:
    """Processes that score start in a fraction of the time that torch's import takes."""
    code = (
        "import sys; from runtime.scoring import local, cluster; from runtime.scoring.registry import METRICS, open_scorer\n"
        "for metric in set(METRICS) - {'loss'}: open_scorer(metric, None)(['A text of some words. ' * 30])\n"
        "print(sorted({'torch', 'transformers', 'streaming', 'composer', 'datatrove'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
