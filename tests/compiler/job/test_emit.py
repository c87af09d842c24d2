"""compiler.job.emit: job folders are whole, the same bytes everywhere, and what others made is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from compiler.job.emit import emit, job_files
from schemas.diagnostics import DiagnosticsError
from schemas.plan import RunPlan
from tests.compiler.job.case import gpu_plan
from tests.factory import tiny_plan

FILES = ["README.md", "launch/local.sh", "launch/slurm.sbatch", "plan.yaml"]


def listing(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_folder_holds_the_plan(tmp_path: Path) -> None:
    """The folder is named after the plan, plan.yaml reads back as the same plan, and the scripts can be executed."""
    plan = gpu_plan()
    folder = emit(plan, tmp_path)
    assert folder == tmp_path / "tiny-00000000"
    assert listing(tmp_path) == [f"tiny-00000000/{name}" for name in FILES]
    assert RunPlan.model_validate(YAML(typ="safe", pure=True).load(folder / "plan.yaml")) == plan
    assert all(os.access(folder / name, os.X_OK) for name in ("launch/local.sh", "launch/slurm.sbatch"))


def test_same_bytes_in_another_place_and_process(tmp_path: Path) -> None:
    """Another folder, process and hash seed give the same bytes, without dates or paths of this machine."""
    code = "import sys, pathlib; from compiler.job.emit import emit; from tests.factory import tiny_plan;"
    code += "emit(tiny_plan(), pathlib.Path(sys.argv[1]))"
    root = Path(__file__).parents[3]
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "TZ": f"UTC+{seed}"}
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / seed], cwd=tmp_path, env=environment, check=True, timeout=60
        )
    contents = [[(tmp_path / seed / "tiny-00000000" / name).read_text() for name in FILES] for seed in ("1", "2")]
    assert contents[0] == contents[1]
    assert contents[0] == [job_files(tiny_plan())[name] for name in FILES]
    assert not any(str(tmp_path) in text or str(root) in text for text in contents[0])


def test_untouched_if_the_same(tmp_path: Path) -> None:
    """A second emit of the same plan leaves every file alone."""
    folder = emit(tiny_plan(), tmp_path)
    before = {name: (folder / name).stat() for name in FILES}
    assert emit(tiny_plan(), tmp_path) == folder
    after = {name: (folder / name).stat() for name in FILES}
    assert {name: (s.st_ino, s.st_mtime_ns) for name, s in before.items()} == {
        name: (s.st_ino, s.st_mtime_ns) for name, s in after.items()
    }


def test_replaced_if_other_with_people_s_files_kept(tmp_path: Path) -> None:
    """Other bytes under the same fingerprint win as a whole; files that people added stay; nothing is left over."""
    folder = emit(tiny_plan(), tmp_path)
    (folder / "notes").mkdir()
    (folder / "notes/mine.txt").write_text("mine")
    (folder / "launch/local.sh").write_text("broken")
    emit(tiny_plan(execution={"workers": 3}), tmp_path)
    assert "workers: 3" in (folder / "plan.yaml").read_text()
    assert (folder / "launch/local.sh").read_text() == job_files(tiny_plan())["launch/local.sh"]
    assert listing(tmp_path) == sorted([*(f"tiny-00000000/{name}" for name in FILES), "tiny-00000000/notes/mine.txt"])
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-00000000"]


def test_many_at_once(tmp_path: Path) -> None:
    """Compiles that replace each other's folder at the same time leave one whole folder and nothing else."""
    plans = [tiny_plan(execution={"workers": workers}) for workers in range(3)]
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(lambda number: emit(plans[number % 3], tmp_path), range(30))) == {
            tmp_path / "tiny-00000000"
        }
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-00000000"]
    found = {name: (tmp_path / "tiny-00000000" / name).read_text() for name in listing(tmp_path / "tiny-00000000")}
    assert found in [job_files(plan) for plan in plans]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_foreign_things_are_left_alone(tmp_path: Path, kind: str) -> None:
    """What recipec did not make is neither overwritten nor deleted."""
    target = tmp_path / "tiny-00000000"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "folder":
        target.mkdir()
        (target / "thesis.tex").write_text("years of work")
    elif kind == "file":
        target.write_text("years of work")
    else:
        target.symlink_to(elsewhere)
    with pytest.raises(DiagnosticsError, match=r"RC604 .* is in the way"):
        emit(tiny_plan(), tmp_path)
    assert listing(elsewhere) == []
    assert kind == "link" or "years of work" in (target / "thesis.tex" if kind == "folder" else target).read_text()


def test_parent_that_is_a_file(tmp_path: Path) -> None:
    """A parent that can't hold folders gives a diagnostic, not a traceback."""
    (tmp_path / "out").write_text("")
    with pytest.raises(DiagnosticsError, match="RC604"):
        emit(tiny_plan(), tmp_path / "out")


def test_readme_tells_the_job() -> None:
    """Model, data, cost and fingerprint stand in the README; texts of a recipe can't break its tables."""
    plan = tiny_plan(
        data={
            "sources": {"code": {"mds": "s3://bucket/a|b`c", "tokens": 10**9}, "prose": {"files": ["a\n|b", "c"]}},
        },
        algorithms=[
            {
                "kind": "ema",
                "window": {"start_token": 0, "end_token": 6144},
                "smoothing": 0.99,
                "update_interval_steps": 1,
            }
        ],
    )
    readme = job_files(plan)["README.md"]
    assert "| `code` | ``mds: s3://bucket/a\\|b`c`` | 72 | 4.608k tok | 75 % |" in readme
    assert "| `prose` | `files: a \\|b, c` | 24 | 1.536k tok | 25 % |" in readme
    assert "| ema | throughout: `smoothing: 0.99, update_interval_steps: 1` |" in readme
    assert plan.fingerprint in readme
    assert "The mix changes" not in readme
