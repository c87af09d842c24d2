"""Trackers of a run, by key of the recipe: TensorBoard, MLflow and Weights & Biases, through Composer's loggers."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import RunFailed
from runtime.files import disk_errors, temporary_path
from runtime.layout import Layout
from runtime.status import rank
from schemas.plan import RunPlan

if TYPE_CHECKING:
    from composer.loggers import LoggerDestination

__all__ = ["build_loggers", "mlflow_database", "quiet"]

_CHATTY = (
    "composer", "streaming", "transformers", "torch.distributed", "mlflow", "alembic", "concurrent.futures", "torchao",
    "bitsandbytes", "peft",
)  # fmt: skip


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' notes and Python's warnings away from people; errors come as exceptions."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def build_loggers(plan: RunPlan, layout: Layout) -> list[LoggerDestination]:
    """The trackers that the plan names; credentials come from each one's own environment variables.

    Raises:
        RunFailed: a tracker's package is not installed (RC607), or its database can't be made (RC604).
    """
    logging_plan, name = plan.logging, layout.run.name
    found: list[LoggerDestination] = []
    if logging_plan.tensorboard is not None:
        _require("tensorboard")
        from composer.loggers import TensorboardLogger

        found.append(TensorboardLogger(log_dir=str(layout.run / "tensorboard"), flush_interval=1000))
    if logging_plan.mlflow is not None:
        _require("mlflow")
        from composer.loggers import MLFlowLogger

        uri = logging_plan.mlflow.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        found.append(
            MLFlowLogger(
                experiment_name=logging_plan.mlflow.experiment,
                run_name=name,
                tags={"run_name": name},
                tracking_uri=uri or mlflow_database(layout.run / "mlflow.db"),
                resume=True,
                log_system_metrics=False,
            )
        )
    if logging_plan.wandb is not None:
        _require("wandb")
        from composer.loggers import WandBLogger

        wandb = logging_plan.wandb
        settings = {"mode": wandb.mode, "dir": str(layout.run), "id": plan.fingerprint[:16], "resume": "allow"}
        found.append(WandBLogger(project=wandb.project, entity=wandb.entity, name=name, init_kwargs=settings))
    return found


def mlflow_database(path: Path) -> str:
    """The URI of a run's own MLflow database, made whole or not at all: MLflow can't open one that it was killed in.

    Raises:
        RunFailed: the path can't stand in a URI (RC604).
    """
    if set("?%") & set(str(path)):
        remedy = "choose another folder with --runs, or name a database with `logging.mlflow.tracking_uri`"
        raise RunFailed("RC604", f"MLflow can't keep a database in {path.parent}: its path holds `?` or `%`", remedy)
    if rank() == 0 and not path.exists():
        from mlflow import MlflowClient

        temporary = temporary_path(path)
        with disk_errors(path):
            try:
                MlflowClient(tracking_uri=f"sqlite:///{temporary}").search_experiments(max_results=1)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
    return f"sqlite:///{path}"


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise RunFailed(
            "RC607", f"the plan logs to {package}, and the package `{package}` is not installed",
            "install it (`pip install 'recipec[trackers]'`), or remove the key from `logging`",
        )  # fmt: skip
