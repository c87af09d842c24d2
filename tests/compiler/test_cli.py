"""The command line as its user meets it: exit codes, what goes where, and no traceback for what a user did."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compiler.cli import app
from tests.recipes import MINIMAL, ROOT

RUNNER = CliRunner()
EXAMPLE = ROOT / "generated" / "example"
HELP = ROOT / "tests" / "compiler" / "help.txt"


def call(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    result = RUNNER.invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A minimal recipe in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "minimal.yaml"
    path.write_text(MINIMAL, encoding="utf-8")
    return path


def test_check_says_ok_and_nothing_else(recipe: Path) -> None:
    """A good recipe: one line on stdout, exit code 0."""
    code, out, err = call("check", "minimal.yaml")

    assert code == 0
    assert out.startswith("minimal.yaml: ok, plan ")
    assert err == ""


def test_errors_go_to_stderr_with_exit_code_1(recipe: Path) -> None:
    """Findings are for people, so stdout stays empty for programs."""
    code, out, err = call("plan", "minimal.yaml", "--set", "budget.tokens=8h")

    assert (code, out) == (1, "")
    assert "error[RC106]" in err


@pytest.mark.parametrize("command", [["check"], ["plan"], ["compile"], ["explain"]])
def test_a_missing_recipe_is_a_finding(command: list[str], recipe: Path) -> None:
    """Not a usage error, not a traceback."""
    extra = ["name"] if command == ["explain"] else []
    code, out, err = call(*command, "nowhere.yaml", *extra)

    assert code == 1
    assert "RC001" in out + err
    assert "nowhere.yaml" in out + err


def test_check_formats(recipe: Path) -> None:
    """JSON with a version for programs, annotations for GitHub."""
    recipe.write_text(MINIMAL + "modle: {}\n", encoding="utf-8")

    code, out, _ = call("check", "minimal.yaml", "--format", "json")
    document = json.loads(out)
    assert code == 1
    assert document["format_version"] == "1.0"
    assert [d["code"] for d in document["recipes"][0]["diagnostics"]] == ["RC101"]

    code, out, _ = call("check", "minimal.yaml", "--format", "github")
    assert code == 1
    assert out.startswith("::error file=minimal.yaml,line=10,")


def test_plan_as_json_holds_what_is_promised(recipe: Path) -> None:
    """The keys that other programs read."""
    _, out, _ = call("plan", "minimal.yaml", "--format", "json")
    plan = json.loads(out)

    assert plan["model"]["num_parameters"] > 0
    assert {"tokens", "train_flops", "inference_flops", "loss", "optimal_parameters"} <= set(plan["budget"])
    assert {"tokens_per_s_per_gpu", "mfu", "peak_memory_bytes", "hours", "usd"} <= set(plan["estimate"])
    assert set(plan["data"]["phases"][0]["sources"]["code"]) == {"samples", "tokens"}
    assert {"steps", "global_batch_tokens", "microbatch"} <= set(plan["training"])
    assert {"id", "kind"} <= set(plan["steps"][0])
    assert len(plan["fingerprint"]) == 64
    assert plan["provenance"]["seed"]["origin"] == "default"


def test_plan_fits_a_narrow_terminal_and_has_no_colour_in_a_file(recipe: Path) -> None:
    """No escape codes where the output is no terminal."""
    _, out, _ = call("plan", "minimal.yaml")

    assert "\x1b" not in out
    assert "fp32" in out


def test_compile_prints_the_job_last_and_twice_the_same(recipe: Path) -> None:
    """Byte for byte the same in another folder."""
    _, first, _ = call("compile", "minimal.yaml", "--out", "one")
    _, second, _ = call("compile", str(recipe), "--out", "two/deep")
    one, two = Path(first.strip().split("\n")[-1]), Path(second.strip().split("\n")[-1])

    names = sorted(str(path.relative_to(one)) for path in one.rglob("*"))
    assert names == ["README.md", "launch", "launch/local.sh", "launch/slurm.sbatch", "plan.yaml"]
    assert names == sorted(str(path.relative_to(two)) for path in two.rglob("*"))
    assert all((one / n).read_bytes() == (two / n).read_bytes() for n in names if (one / n).is_file())


def test_the_committed_example_is_what_compile_writes(tmp_path: Path) -> None:
    """`make golden` rewrites generated/example; the difference is part of a review."""
    code, out, _ = call("compile", str(ROOT / "recipes" / "quickstart.yaml"), "--out", str(tmp_path))
    assert code == 0
    job = Path(out.strip())
    if os.environ.get("UPDATE_GOLDEN"):
        shutil.rmtree(EXAMPLE, ignore_errors=True)
        shutil.copytree(job, EXAMPLE)

    files = sorted(str(path.relative_to(job)) for path in job.rglob("*") if path.is_file())
    assert files == sorted(str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*") if path.is_file())
    for name in files:
        assert (job / name).read_text(encoding="utf-8") == (EXAMPLE / name).read_text(encoding="utf-8"), name


def test_the_surface_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new command or option is a decision: the help of all commands is a golden file."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERMINAL_WIDTH", "100")
    commands = ["init", "check", "plan", "compile", "run", "explain", "diff", "schema", "doctor"]
    pages = [call("--help")[1], *(call(command, "--help")[1] for command in commands)]
    text = "\n".join(line.rstrip() for page in pages for line in page.split("\n"))
    if os.environ.get("UPDATE_GOLDEN"):
        HELP.write_text(text, encoding="utf-8")

    assert HELP.read_text(encoding="utf-8") == text


def test_explain_a_code_and_a_value(recipe: Path) -> None:
    """A page of the catalogue; a line of the recipe; a default; a pass."""
    assert "runs dry" in call("explain", "RC405")[1]
    assert "minimal.yaml:9" in call("explain", "minimal.yaml", "budget.tokens")[1]
    assert "default of the language" in call("explain", "minimal.yaml", "seed")[1]
    assert "decided by the pass `training`" in call("explain", "minimal.yaml", "training.optimizer.lr")[1]
    assert call("explain", "minimal.yaml", "start")[1].startswith("start = null\n")
    assert "recipec explain RECIPE precision\n" in call("explain", "minimal.yaml", "training.precision")[2]


def test_explain_takes_the_names_that_diff_shows(recipe: Path) -> None:
    """Entries of lists by id: a phase, a piece of a transition (with a dot in its id), a whole transition, a step."""
    weights = "[{weights: {code: 1}}, {from: 0.5dur, weights: {prose: 1}, transition: linear}]"
    for name, place in {
        "data.phases.phase0.start_token": "data.phases[0].start_token",
        "data.phases.phase0.003.sources.code.samples": "data.phases[2].sources.code.samples",
        "data.phases.phase1.end_token": "data.phases[100].end_token",
        "steps.train.kind": "steps[3].kind",
    }.items():
        code, text, _ = call("explain", "minimal.yaml", name, "--set", f"data.mixture={weights}")
        assert (code, text.partition(" = ")[0]) == (0, place)
    assert call("explain", "minimal.yaml", "data.phases.phase7.end_token")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["explain", "RC999"], "RC902"),
        (["explain", "minimal.yaml"], "which value"),
        (["explain", "minimal.yaml", "training.optimiser.lr"], "training.optimizer.lr"),
        (["schema", "recipes"], "recipec schema recipe"),
        (["run", "."], "launch/local.sh"),
        (["run", ".", "--set", "seed=1"], "--set"),
        (["explain", "nowhere.yaml"], "neither an error code nor a file"),
        (["plan", "minimal.yaml", "--format", "github"], "'text', 'json'"),
        (["init", "--to", "mine.yaml"], "which recipe"),
        (["init", "quickstart", "--to", "minimal.yaml/mine.yaml"], "its folder is a file"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_the_way_out(arguments: list[str], hint: str, recipe: Path) -> None:
    """Never a traceback, always what to type instead."""
    code, out, err = call(*arguments)

    assert code == 2
    assert hint in out + err


def test_diff_of_two_recipes_says_whether_a_resume_is_legal(recipe: Path) -> None:
    """Another learning rate may go on, another seed may not."""
    Path("lr.yaml").write_text("extends: minimal.yaml\ntraining: {optimizer: {lr: 1e-3}}\n", encoding="utf-8")
    Path("seed.yaml").write_text("extends: minimal.yaml\nseed: 5\n", encoding="utf-8")

    code, out, _ = call("diff", "minimal.yaml", "lr.yaml")
    assert code == 0
    assert "training.optimizer.lr" in out
    assert "resume is legal" in out
    code, out, _ = call("diff", "minimal.yaml", "seed.yaml")
    assert code == 0
    assert "cannot resume" in out


def test_init_starts_from_the_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy compiles where it lands; a second one does not overwrite it."""
    monkeypatch.chdir(tmp_path)

    assert "quickstart" in call("init")[1]
    assert call("init", "quickstart")[0] == 0
    assert call("check", "quickstart.yaml")[0] == 0
    assert call("init", "quickstart")[0] == 2
    code, out, err = call("init", "quikstart")
    assert code == 2
    assert "quickstart" in out + err


def test_a_local_source_that_is_not_there_is_found_before_launch(recipe: Path) -> None:
    """Relative patterns are errors, absolute ones warnings: they may exist on the machine that runs the job."""
    code, _, err = call("check", "minimal.yaml", "--set", "data.sources.code={files: missing/*.txt}")
    assert code == 1
    assert "RC401" in err
    code, _, err = call("check", "minimal.yaml", "--set", "data.sources.code={files: /missing/*.txt}")
    assert code == 0
    assert "warning[RC401]" in err


def _process(arguments: str, redirect: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of a shell, which alone can close or fill its streams."""
    command = f"set -o pipefail; {sys.executable} -m compiler {arguments} {redirect}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


@pytest.mark.parametrize("arguments", ["plan minimal.yaml", "check minimal.yaml --format json", "compile minimal.yaml"])
def test_a_closed_stdout_is_no_fault(arguments: str, recipe: Path) -> None:
    """Whoever closes the output wants none: the command does its work, and nothing is said of it."""
    result = _process(arguments, ">&-")

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_can_not_be_written_is_said(recipe: Path) -> None:
    """A full disk behind `> file` is a failure with its reason, not a fault of ours."""
    result = _process("plan minimal.yaml", "> /dev/full")

    assert result.returncode == 3
    assert "RC604" in result.stderr
    assert "No space left" in result.stderr


def test_a_reader_that_has_enough_is_no_failure(recipe: Path) -> None:
    """`recipec plan R --format json | head -1`, in a script that heeds every exit code of a pipe."""
    result = _process("plan minimal.yaml --format json", "| true")

    assert (result.returncode, result.stderr) == (0, "")


def test_a_recipe_that_may_not_be_read_is_a_finding(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line looks at no permissions: that is the loader's, with code, reason and remedy."""
    monkeypatch.setattr("os.access", lambda *_, **__: False)

    assert call("check", "minimal.yaml")[0] == 0


def test_json_asked_is_json_given_also_by_a_recipe_with_errors(recipe: Path) -> None:
    """A program that compares recipes reads one document on stdout, whatever is wrong with them."""
    Path("wrong.yaml").write_text("extends: minimal.yaml\nsede: 5\n", encoding="utf-8")
    for arguments in (["diff", "minimal.yaml", "wrong.yaml"], ["plan", "minimal.yaml", "--against", "wrong.yaml"]):
        code, out, err = call(*arguments, "--format", "json")

        assert (code, err) == (1, "")
        assert [finding["code"] for finding in json.loads(out)["diagnostics"]] == ["RC101"]


def test_explain_reads_places_in_files_with_colons(recipe: Path) -> None:
    """`a:b.yaml:9:10` is line 9 of `a:b.yaml`."""
    shutil.copy("minimal.yaml", "a:b.yaml")
    code, out, _ = call("explain", "a:b.yaml", "budget.tokens")

    assert code == 0
    assert "a:b.yaml:9" in out
    assert "budget: {tokens: 1M tok}" in out


def test_explain_has_an_answer_for_every_value(recipe: Path) -> None:
    """Also for those that nobody chose."""
    for path in ("fingerprint", "resume_key", "format_version"):
        assert "no choice" in call("explain", "minimal.yaml", path)[1]


def test_the_version_is_the_packages() -> None:
    """What bug reports begin with."""
    code, out, _ = call("--version")

    assert (code, out) == (0, f"recipec {importlib.metadata.version('recipec')}\n")
