"""`recipec estimate` and `recipec calibrate` from the command line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compiler.cli import app
from compiler.estimate.rows.judge import PREDICTED
from compiler.estimate.speed.site import MeasuredStep, calibrate, write_site
from compiler.job.emit import emit
from compiler.pipeline import compile_recipe

ROOT = Path(__file__).parents[3]
RUNS = ROOT / "benchmarks" / "calibrate" / "runs.csv"


def _table(tmp_path: Path, rows: slice) -> Path:
    with RUNS.open(encoding="utf-8", newline="") as handle:
        found = list(csv.DictReader(handle))
    with (tmp_path / "mine.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(found[0]))
        writer.writeheader()
        writer.writerows(found[rows])
    return tmp_path / "mine.csv"


def test_the_whole_table_as_a_process_takes_seconds() -> None:
    """Target: 5 s for 2,010 rows; about 1.5 s on two cores."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "compiler", "estimate", str(RUNS)], cwd=ROOT, capture_output=True, check=True, text=True
    )
    seconds = time.perf_counter() - started
    rows = list(csv.DictReader(io.StringIO(done.stdout)))

    assert len(rows) == 2010
    assert list(rows[0])[-len(PREDICTED) :] == list(PREDICTED)
    assert seconds < 15  # the machine of the tests may be busy


def test_a_table_is_estimated_twice_alike(tmp_path: Path) -> None:
    """The output is a table of runs again; its predictions are replaced, not read."""
    first = CliRunner().invoke(app, ["estimate", str(_table(tmp_path, slice(0, 30)))])
    (tmp_path / "again.csv").write_text(first.output, encoding="utf-8")

    assert first.exit_code == 0
    assert CliRunner().invoke(app, ["estimate", str(tmp_path / "again.csv")]).output == first.output


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "has no rows"),
        (b"model,n_gpus\n", "has no rows"),
        (b"a,b\n1,2\n", "none of the columns"),
        (b"model\n\xff\xfe\n", "not UTF-8"),
        (b"model;n_gpus\nllama2-7b;8\n", "not by ';'"),
        (b"model,n_gpus,model\nllama2-7b,8,opt-13b\n", "twice"),
        (b'model\n"' + b"x" * 200_000 + b'"\n', "not CSV"),
    ],
)
@pytest.mark.parametrize("command", ["estimate", "calibrate"])
def test_a_file_that_is_no_table_is_a_finding(
    command: str, content: bytes | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("runs.csv").write_bytes(content)
    done = CliRunner().invoke(app, [command, "runs.csv"])

    assert done.exit_code == 1
    assert "error[RC506]" in done.output
    assert says in done.output
    assert not Path("calibration.json").exists()


def test_missing_columns_are_a_note_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("model,n_gpus,hardware\nmpt-7b,8,A100-80GB\nmpt-7b,8,abacus\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["estimate", str(tmp_path / "few.csv")])
    rows = list(csv.DictReader(io.StringIO(done.output)))

    assert done.exit_code == 0
    assert all(row["pred_note"] and not row["pred_tokens_per_s_per_gpu"] for row in rows)
    assert "abacus" in rows[1]["pred_note"]


def test_a_slower_cluster_is_learnt_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs at 0.8 of the published speed: the factors say so, and estimates with them are right."""
    monkeypatch.chdir(tmp_path)
    estimated = CliRunner().invoke(app, ["estimate", str(_table(tmp_path, slice(0, 40)))]).output
    rows = [row for row in csv.DictReader(io.StringIO(estimated)) if not row["pred_note"]]
    for row in rows:
        row["tokens_per_s_per_gpu"] = str(0.8 * float(row["pred_tokens_per_s_per_gpu"]))
    with Path("slow.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    done = CliRunner().invoke(app, ["calibrate", "slow.csv", "--out", "cluster.json", "--format", "json"])
    found = json.loads(done.output)
    again = CliRunner().invoke(app, ["estimate", "slow.csv", "--calibration", "cluster.json"]).output

    assert done.exit_code == 0
    assert found["runs"] == len(rows)
    assert found["error_before"] == pytest.approx(0.223, abs=0.001)
    assert found["error_after"] < 0.02
    for row in csv.DictReader(io.StringIO(again)):
        assert float(row["pred_tokens_per_s_per_gpu"]) == pytest.approx(float(row["tokens_per_s_per_gpu"]), rel=0.03)


def test_runs_without_a_speed_are_left_out_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = _table(tmp_path, slice(0, 5))
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*lines, "odd" + "," * 30]) + "\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["calibrate", str(table)])

    assert done.exit_code == 0
    assert "mine.csv:7: it has no tokens_per_s_per_gpu" in done.output
    assert "5 runs" in done.output
    assert json.loads(Path("calibration.json").read_text(encoding="utf-8"))["runs"] == 5


@pytest.mark.parametrize(
    ("report", "says"),
    [
        ("{", "can't be read"),
        ("[]", "plan.yaml"),
        ('{"training": {"tokens_per_s": {"actual": null}}}', "plan.yaml"),
    ],
)
def test_a_report_without_a_run_says_why(
    report: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run_report.json").write_text(report, encoding="utf-8")
    done = CliRunner().invoke(app, ["calibrate", "run_report.json"])

    assert done.exit_code == 1
    assert says in " ".join(done.output.split())


@pytest.mark.parametrize("recipe", ["llama-1b-h100", "quickstart"])
def test_the_report_of_a_run_counts_as_a_run(recipe: str, tmp_path: Path) -> None:
    """The run was a fifth slower than its plan said: so are its parts from then on."""
    plan = compile_recipe(ROOT / "recipes" / f"{recipe}.yaml").expect()
    job = emit(plan, tmp_path)
    planned = plan.estimate.tokens_per_s_per_gpu * plan.hardware.count
    report = {"training": {"tokens_per_s": {"planned": planned, "actual": planned / 1.2}}}
    (job / "run_report.json").write_text(json.dumps(report), encoding="utf-8")
    out = tmp_path / "cluster.json"
    done = CliRunner().invoke(app, ["calibrate", str(job / "run_report.json"), "--out", str(out), "--format", "json"])
    found = json.loads(done.output)

    assert done.exit_code == 0
    assert found["error_before"] == pytest.approx(0.182, abs=0.001)
    assert 1.05 < found["stretch"]["products"] < 1.25


def test_a_recipe_with_a_calibration_is_planned_with_it(tmp_path: Path) -> None:
    source = (ROOT / "recipes" / "llama-1b-h100.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(source, encoding="utf-8")
    slow = calibrate([MeasuredStep("run", {"matmul": 1.0}, 1.2, 0.1)] * 50)
    (tmp_path / "cluster.json").write_text(write_site(slow), encoding="utf-8")
    free, own = (
        compile_recipe(tmp_path / "recipe.yaml", overrides).expect().estimate
        for overrides in ((), ("hardware.calibration=cluster.json",))
    )

    assert own.step_parts["matmul"] == pytest.approx(1.2 * free.step_parts["matmul"], rel=0.01)
    assert "your calibration" in own.method
    assert own.usd > free.usd


def test_a_header_in_other_case_is_the_same_header(tmp_path: Path) -> None:
    """`N_GPUs` and ` model ` are the columns that they look like."""
    table = _table(tmp_path, slice(0, 5))
    plain = CliRunner().invoke(app, ["estimate", str(table)]).output
    text = table.read_text(encoding="utf-8").replace("n_gpus", "N_GPUs", 1).replace(",model,", ", Model ,", 1)
    table.write_text(text, encoding="utf-8")

    assert CliRunner().invoke(app, ["estimate", str(table)]).output == plain


def test_calibrate_never_replaces_the_runs(tmp_path: Path) -> None:
    """A user's measurements outlive a slip of the pen."""
    table = _table(tmp_path, slice(0, 5))
    before = table.read_bytes()
    done = CliRunner().invoke(app, ["calibrate", str(table), "--out", str(tmp_path / "." / "mine.csv")])

    assert done.exit_code == 1
    assert "would replace" in done.output
    assert table.read_bytes() == before
