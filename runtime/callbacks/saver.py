"""Saves and resumes a run, and stops it when it was asked to, by a signal or by its caps.

Composer's own saver is not used: its files are not atomic, it loads them with full pickle, and on resume within an
epoch it leaves the random state as it is, so that dropout differs from the undisturbed run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from composer.core import Callback, State
from composer.loggers import Logger
from composer.utils import dist, reproducibility

from runtime import checkpoint
from runtime.callbacks.ledger import Ledger
from runtime.checkpoint import Checkpoint
from runtime.errors import RunError, RunFailed
from schemas.plan import RunPlan

__all__ = ["Saver", "load_random_state", "random_state"]

# What makes the next batch; names of environment and integrations stay out, and with them objects that need pickle.
_SAVED = ["model", "optimizers", "schedulers", "algorithms", "scaler", "timestamp", "rank_zero_seed", "dataset_state"]


def random_state() -> list[dict[str, Any]]:
    """Composer's random state of every rank, with numpy's array as a tensor."""
    states: list[dict[str, Any]] = reproducibility.get_rng_state()
    for state in states:
        name, keys, *rest = state["numpy"]
        state["numpy"] = (name, torch.from_numpy(keys.astype(np.int64)), *rest)
    return states


def load_random_state(states: list[dict[str, Any]]) -> None:
    """Set this rank's random state; a rank that was not there when it was saved keeps the one of its seed."""
    rank = dist.get_global_rank()
    if rank >= len(states):
        return
    state = states[rank]
    name, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


class Saver(Callback):  # type: ignore[misc]  # composer has no types
    """Writes a checkpoint every interval, at the end, and when asked to stop; begins from `found`.

    Args:
        plan: says how often and how many.
        folder: of checkpoints.
        ledger: the run's books, kept in the manifest.
        asked: whether this rank was asked to stop, read after each batch.
        found: the checkpoint to go on from.
    """

    def __init__(
        self, plan: RunPlan, folder: Path, ledger: Ledger, asked: Callable[[], bool], found: Checkpoint | None
    ) -> None:
        self._plan, self._folder, self._ledger, self._asked = plan, folder, ledger, asked
        self._found = found
        self._random_state: list[dict[str, Any]] | None = None
        self._saved_step = found.progress.step if found else None
        self.interrupted = False

    def init(self, state: State, logger: Logger) -> None:
        """Tell Composer what belongs into a checkpoint."""
        state.serialized_attributes = list(_SAVED)

    def before_load(self, state: State, logger: Logger) -> None:
        """Put a checkpoint's state in place; the random state waits for the first batch."""
        if self._found is None:
            return
        saved = self._found.state["state"]
        _check_algorithms(saved, state)
        frozen = any(not weight.requires_grad for weight in state.model.parameters())
        if frozen:
            _check_weights(saved["model"], checkpoint.trained_names(state.model))
        # Without the exclusion Composer evaluates the `repr` of any algorithm of its own that a checkpoint names.
        state.load_state_dict(
            saved, logger, strict=not frozen, exclude_algorithms=[name for name, _ in saved["algorithms"]]
        )
        self._ledger.resume(self._found.progress)
        self._random_state = self._found.state["rng"]
        self._found = None

    def after_dataloader(self, state: State, logger: Logger) -> None:
        """Restore the random state after the loader has drawn its own seed, as in the run that saved it."""
        if self._random_state is not None:
            load_random_state(self._random_state)
            self._random_state = None

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Save if it is time, or if any rank was asked to stop; then all stop after the same batch."""
        step = int(state.timestamp.batch)
        is_last = step == self._plan.training.steps
        self.interrupted = self._agreed(state) and not is_last
        if self.interrupted or is_last or step % max(1, self._plan.checkpoints.interval_steps) == 0:
            self._save(state)
        if self.interrupted:
            state.stop_training()

    def _agreed(self, state: State) -> bool:
        if dist.get_world_size() == 1:
            return self._asked()
        asked = state.device.tensor_to_device(torch.tensor([int(self._asked())], dtype=torch.int32))
        dist.all_reduce(asked, reduce_operation="MAX")
        return bool(asked.item())

    def _save(self, state: State) -> None:
        progress = self._ledger.progress(state)
        if progress.step == self._saved_step:
            return
        saved = {"state": state.state_dict(), "rng": random_state()}
        for name in ("integrations", "metadata"):
            saved["state"].pop(name, None)
        saved["state"]["model"] = checkpoint.of_trained(saved["state"]["model"], state.model)
        _on_first_rank(state, lambda: self._write(saved, progress))
        self._saved_step = progress.step

    def _write(self, saved: dict[str, Any], progress: checkpoint.Progress) -> None:
        checkpoint.save(self._folder, self._plan, saved, progress, dist.get_world_size())
        checkpoint.prune(self._folder, self._plan.checkpoints.keep)


def _check_algorithms(saved: dict[str, Any], state: State) -> None:
    theirs = [name for name, _ in saved["algorithms"]]
    ours = [type(algorithm).__qualname__ for algorithm in state.algorithms]
    if theirs != ours:
        raise RunFailed(
            "RC603", f"the checkpoint was made with the algorithms {theirs}, this plan has {ours}",
            "remove the run's folder to start anew",
        )  # fmt: skip


def _check_weights(saved: Mapping[str, Any], trained: frozenset[str]) -> None:
    """Beside frozen weights, a checkpoint has those that train: all of them and no others."""
    if differing := sorted(saved.keys() ^ trained):
        raise RunFailed(
            "RC603", f"the checkpoint and the model differ in {len(differing)} weights, such as {differing[0]}",
            "remove the run's folder to start anew",
        )  # fmt: skip


def _on_first_rank(state: State, work: Callable[[], None]) -> None:
    """Do something on the first rank; if it fails there, every rank ends with an error instead of waiting for ever."""
    failure: RunError | None = None
    if dist.get_global_rank() == 0:
        try:
            work()
        except RunError as error:
            failure = error
    failed = state.device.tensor_to_device(torch.tensor([int(failure is not None)], dtype=torch.int32))
    dist.all_reduce(failed, reduce_operation="MAX")
    if failure is not None:
        raise failure
    if failed.item():
        raise RunFailed("RC604", "the first process could not save the checkpoint", "see its message")
