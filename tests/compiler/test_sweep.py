"""`plan --sweep`: axes are read as they are typed, every combination is planned, and what fails says why."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compiler.cli import app
from compiler.sweep import MOST_PLANS, Axis, SweepError, read_axes
from tests.recipes import MINIMAL, ROOT

SWEEP = "--sweep"


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minimal recipe in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(MINIMAL, encoding="utf-8")


def call(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a plan of the recipe."""
    result = CliRunner().invoke(app, ["plan", "r.yaml", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("budget.tokens=1B,2B", Axis("budget.tokens", ("1B", "2B"))),
        (
            "training.optimizer.betas=[0.9, 0.95], [0.9,0.99]",
            Axis("training.optimizer.betas", ("[0.9, 0.95]", "[0.9,0.99]")),
        ),
        ("name='a,b',c", Axis("name", ("'a,b'", "c"))),
        ("hardware={gpu: cpu, count: 1},{count: 2}", Axis("hardware", ("{gpu: cpu, count: 1}", "{count: 2}"))),
        ("data.mixture[0].weights.code=0.1", Axis("data.mixture[0].weights.code", ("0.1",))),
        ("a=x=1,y=2", Axis("a", ("x=1", "y=2"))),
    ],
)
def test_values_end_at_commas_outside_of_brackets_and_quotes(text: str, axis: Axis) -> None:
    """Units and lists are values like others."""
    assert read_axes([text]) == (axis,)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["budget.tokens"], "budget.inference.requests=1e6"),
        (["=1,2"], "is no sweep"),
        (["budget tokens=1"], "is no sweep"),
        (["budget.tokens="], "is empty"),
        (["budget.tokens=1,,2"], "is empty"),
        (["budget.tokens=1,1"], "one value twice"),
        (["seed=1,2", "seed=3"], "swept twice"),
        (["seed=" + ",".join(map(str, range(MOST_PLANS + 1)))], "one table holds 200"),
        (["seed=" + ",".join(map(str, range(100))), "budget.tokens=1M,2M,3M"], "300 plans"),
    ],
)
def test_what_can_not_be_read_says_what_to_write(texts: list[str], words: str) -> None:
    """A wrong use, not a wrong recipe."""
    with pytest.raises(SweepError, match=words.replace("(", r"\(")):
        read_axes(texts)
    code, out, err = call(*(part for text in texts for part in (SWEEP, text)))
    assert (code, out) == (2, "")
    assert words in err


def test_a_row_for_each_combination_the_last_axis_fastest() -> None:
    """Tokens that are asked for are those of the row."""
    code, out, _ = call(SWEEP, "budget.tokens=1M,2M", SWEEP, "seed=1,2", "--format", "json")
    rows = json.loads(out)["rows"]

    assert code == 0
    assert [list(row["values"].values()) for row in rows] == [["1M", "1"], ["1M", "2"], ["2M", "1"], ["2M", "2"]]
    tokens = [row["plan"]["budget"]["tokens"] for row in rows]
    assert tokens[0] == tokens[1] == pytest.approx(1e6, rel=0.01)
    assert tokens[2] == tokens[3] == pytest.approx(2e6, rel=0.01)
    assert len({row["plan"]["fingerprint"] for row in rows}) == 4


def test_the_row_is_the_plan_that_set_gives() -> None:
    """A sweep finds nothing that `--set` would not."""
    _, swept, _ = call(SWEEP, "budget.tokens=1M,2M", "--set", "seed=5", "--format", "json")
    _, plain, _ = call("--set", "seed=5", "--set", "budget.tokens=2M", "--format", "json")

    second = json.loads(swept)["rows"][1]["plan"]
    assert second == {key: value for key, value in json.loads(plain).items() if key in second}


def test_a_row_that_fails_says_why_in_its_place() -> None:
    """The others are planned; some plan is what was asked for, so this is fine."""
    code, out, _ = call(SWEEP, "budget.tokens=1M,nonsense,2M")
    lines = out.splitlines()

    assert code == 0
    assert lines[0].split()[:3] == ["tokens", "model", "tokens"]
    assert lines[1].split()[0] == "1M"
    assert lines[2].split()[:2] == ["nonsense", "RC106"]
    assert lines[-1].split()[0] == "2M"


def test_no_plan_at_all_is_an_error() -> None:
    """Said once with its line where the reason is one; as a table where each value has its own."""
    code, out, err = call(SWEEP, "budget.tokns=1M,2M")
    assert (code, out) == (1, "")
    assert "did you mean `tokens`" in err

    code, out, err = call(SWEEP, "budget.tokens=fast,slow")
    assert code == 1
    assert out.count("RC106") == 2
    code, out, err = call(SWEEP, "budget.tokens=fast", "--format", "json")
    assert code == 1
    assert json.loads(out)["rows"][0]["plan"] is None
    assert json.loads(out)["rows"][0]["diagnostics"][0]["code"] == "RC106"


def test_csv_is_read_back() -> None:
    """Whole paths, base units, the error where there is one."""
    code, out, _ = call(SWEEP, "budget.tokens=1M,nonsense", "--format", "csv")
    first, second = csv.DictReader(io.StringIO(out))

    assert code == 0
    assert first["budget.tokens"] == "1M"
    assert float(first["hours"]) > 0
    assert int(first["parameters"]) > 900_000
    assert (first["code"], first["error"]) == ("", "")
    assert second["code"] == "RC106"
    assert second["hours"] == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([SWEEP, "seed=1,2", "--html", "page.html"], "choose its values with --set"),
        ([SWEEP, "seed=1,2", "--against", "r.yaml"], "choose its values with --set"),
        ([SWEEP, "seed=1,2", "--trace"], "choose its values with --set"),
        (["--format", "csv"], "goes with --sweep"),
    ],
)
def test_options_that_mean_nothing_together(arguments: list[str], words: str) -> None:
    """Said, with the way out."""
    code, out, err = call(*arguments)

    assert (code, out) == (2, "")
    assert words in err


def test_a_warning_of_all_rows_is_said_once() -> None:
    """Beside the table, not in it."""
    code, out, err = call(SWEEP, "seed=1,2,3", "--set", "data.sources.code={files: /missing/*.txt}")

    assert code == 0
    assert err.count("RC401") == 1
    assert "RC401" not in out


def _documented() -> list[list[str]]:
    text = (ROOT / "docs" / "seeing-a-plan.md").read_text(encoding="utf-8")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("    recipec") and SWEEP in line]


@pytest.mark.parametrize("command", _documented(), ids=lambda command: command[-1])
def test_the_documented_sweeps_work(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand on the page, each row a plan."""
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, command)

    assert result.exit_code == 0, result.stderr
    assert not re.search(r"RC\d{3}", result.stdout)


def test_what_a_sweep_over_the_mixture_changes_is_shown() -> None:
    """Rows that differ in their draws alone have a column a source; others have none. CSV has the tokens of all."""
    base = ("--set", "data.mixture=[{weights: {code: 0.9, prose: 0.1}}]")
    sweep = ("--set", "data.domain_upsampling.weights.prose=1", SWEEP, "data.domain_upsampling.fraction=0.1,0.2")
    head, first, second = call(*base, *sweep)[1].splitlines()[:3]
    assert re.match(r"fraction +model +tokens +code +prose ", head)
    assert re.match(r"0\.1 +\S+ +\S+ +84 % +16 % ", first.strip())
    assert re.match(r"0\.2 +\S+ +\S+ +78 % +22 % ", second.strip())
    assert "code" not in call(*base, SWEEP, "budget.tokens=1M,2M")[1]
    rows = list(csv.DictReader(io.StringIO(call(*base, *sweep, "--format", "csv")[1])))
    for row in rows:
        assert int(row["data.sources.code tokens"]) + int(row["data.sources.prose tokens"]) == int(row["tokens"])
