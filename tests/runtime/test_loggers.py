"""Trackers: MLflow's database is whole or not there, TensorBoard and Weights & Biases are built as the plan says."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from runtime import loggers
from runtime.errors import RunFailed
from schemas.plan import RunPlan
from tests.runtime.plans import layout_of, sealed_plan


def plan_of(**logging: object) -> RunPlan:
    """The tiny plan with trackers."""
    return sealed_plan(logging=logging)


def test_the_database_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while MLflow makes its tables leaves nothing under the database's name; later the same path is used."""
    import mlflow

    path = tmp_path / "mlflow.db"

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mlflow.MlflowClient, "search_experiments", killed)
        with pytest.raises(KeyboardInterrupt):
            loggers.mlflow_database(path)
    assert list(tmp_path.iterdir()) == []
    assert loggers.mlflow_database(path) == f"sqlite:///{path}"
    with sqlite3.connect(path) as database:
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    assert {"experiments", "runs", "metrics"} <= tables
    before = path.read_bytes()
    loggers.mlflow_database(path)
    assert path.read_bytes() == before


def test_a_path_that_can_not_stand_in_a_uri(tmp_path: Path) -> None:
    """`?` begins a URI's query: SQLite would write another file without a word."""
    with pytest.raises(RunFailed, match="can't keep a database") as caught:
        loggers.mlflow_database(tmp_path / "what?" / "mlflow.db")
    assert caught.value.code == "RC604"


def test_no_tracker_unless_the_plan_names_one(tmp_path: Path) -> None:
    """TensorBoard writes below the run; a tracker that is not installed is named, with the fix."""
    assert loggers.build_loggers(plan_of(), layout_of(plan_of(), tmp_path)) == []
    plan = plan_of(tensorboard={})
    (built,) = loggers.build_loggers(plan, layout_of(plan, tmp_path))
    assert str(layout_of(plan, tmp_path).run) in str(built.log_dir)


def test_a_tracker_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RC607 before anything is trained."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    plan = plan_of(wandb={"project": "mine", "entity": None, "mode": "offline"})
    with pytest.raises(RunFailed, match="`wandb` is not installed") as caught:
        loggers.build_loggers(plan, layout_of(plan, tmp_path))
    assert caught.value.code == "RC607"
