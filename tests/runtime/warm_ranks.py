"""Ranks that write down every sample that their model is given, forked from one process that has imported everything.

    python -m tests.runtime.warm_ranks                          reads one attempt a line from stdin, answers with exit codes
    torchrun ... -m tests.runtime.warm_ranks FOLDER ATTEMPT     one rank of a launcher's; ATTEMPT is JSON

Composer takes ten seconds to import, so one process does it for the ranks of all attempts. Each rank is a process of its
own, finds the others over gloo by the variables that torchrun sets, and is killed with SIGKILL like any process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from composer.core import Callback, State
from composer.core import state as composer_state
from composer.loggers import Logger
from composer.utils.collect_env import get_composer_env_dict

from runtime import build
from runtime.order.run_order import Cursor
from runtime.steps import train
from runtime.steps.base import Context
from schemas.plan import RunPlan
from schemas.techniques import TECHNIQUES
from tests.runtime.elastic import SOURCE, Attempt, prepared
from tests.runtime.ports import free_port
from tests.runtime.training_case import VOCAB, layout_of

__all__ = ["main"]

_WINDOW: Final = 40
"""Samples of the order that are made at once: five batches, so that short runs have many windows, as long ones do."""
_IMPORTED: Final = (
    "composer.algorithms", "transformers.models.llama.modeling_llama", "transformers.models.gpt2.modeling_gpt2",
    *(f"runtime.algorithms.{kind}" for kind in TECHNIQUES),
)  # fmt: skip
"""What each rank would import for itself. Not bitsandbytes, which starts a thread: none may be there at a fork."""
_PATIENCE: Final = 300.0
"""Seconds after which an attempt that hangs is killed, and is a failure."""


class Recorder(Callback):  # type: ignore[misc]  # composer has no types
    """Writes what went into the model, not what the loader gave; a batch's line is there before it can be in a checkpoint."""

    def __init__(self, path: Path, dies: Attempt | None) -> None:
        self._file = path.open("a")
        self._dies = dies
        self._samples: list[int] = []
        self._batches = 0

    def before_forward(self, state: State, logger: Logger) -> None:
        """Read the numbers of a microbatch's samples; an image has none, its bytes make one."""
        if "pixel_values" in state.batch:
            self._samples += [crc32(image.numpy().tobytes()) for image in state.batch["pixel_values"]]
            return
        head = state.batch["input_ids"][:, :3].to("cpu").tolist()
        self._samples += [source * SOURCE + high * VOCAB + low for source, high, low in head]

    def batch_end(self, state: State, logger: Logger) -> None:
        """Write the line of a batch, and die if that is when."""
        self._file.write(json.dumps({"step": int(state.timestamp.batch), "samples": self._samples}) + "\n")
        self._file.flush()
        self._samples, self._batches = [], self._batches + 1
        if self._dies is not None and self._batches == self._dies.after:
            _die_in(self._dies.seconds)


def _die_in(seconds: float) -> None:
    """SIGKILL to this process, from a thread where there is time left."""
    if not seconds:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


def _train(folder: Path, number: int, attempt: Attempt) -> None:
    """The training step as one rank of attempt `number`."""
    rank = int(os.environ["RANK"])
    dies = attempt if attempt.dies == rank else None
    if dies is not None and not dies.after:
        _die_in(dies.seconds)

    def with_recorder(*arguments: Any, **names: Any) -> build.Training:
        training = original(*arguments, **names)
        training.trainer.state.callbacks.append(Recorder(folder / "fed" / f"{number:04d}-{rank:02d}.jsonl", dies))
        return training

    original = build.build_training
    build.build_training = with_recorder
    Cursor.windows.__defaults__ = (_WINDOW,)  # of `size`
    plan = RunPlan.model_validate_json((folder / "plan.json").read_text())
    parts = {
        "execution": plan.execution.model_copy(update={"workers": attempt.workers}),
        "training": plan.training.model_copy(update={"microbatch": attempt.microbatch}),
    }
    plan = plan.model_copy(update=parts)
    layout = layout_of(plan, folder)
    layout.run.mkdir(parents=True, exist_ok=True)
    step = next(step for step in plan.steps if step.kind == "train")
    train.run(step, Context(plan, layout), prepared(plan, folder), layout.run)


def _serve() -> None:
    """Fork the ranks of each attempt that stdin names, wait for them, answer with their exit codes."""
    for name in _IMPORTED:
        importlib.import_module(name)
    RunPlan.model_rebuild()  # else each rank builds its validator
    # Composer looks for the CPU's name and its own commit at each checkpoint: half of a small training's time.
    found = get_composer_env_dict()
    composer_state.get_composer_env_dict = lambda: found
    for line in sys.stdin:
        job = json.loads(line)
        attempt, port = Attempt(**job["attempt"]), free_port()
        # A lock that another thread holds at the fork would stay locked in the rank.
        assert threading.active_count() == 1
        ranks = [_fork(Path(job["folder"]), job["number"], attempt, rank, port) for rank in range(attempt.ranks)]
        sys.stdout.write(json.dumps(_wait(ranks)) + "\n")
        sys.stdout.flush()


def _fork(folder: Path, number: int, attempt: Attempt, rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()  # with its loader workers, so that all of them can be killed
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (0, 1, 2):
            os.dup2(log, stream)
        per_node = attempt.ranks // attempt.nodes
        variables = {
            "RANK": rank, "WORLD_SIZE": attempt.ranks, "LOCAL_RANK": rank % per_node, "LOCAL_WORLD_SIZE": per_node,
            "GROUP_RANK": rank // per_node, "NODE_RANK": rank // per_node, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        }  # fmt: skip
        os.environ |= {name: str(value) for name, value in variables.items()}
        _train(folder, number, attempt)
        code = 0
    except BaseException as error:  # a fork must not return into its parent's code
        os.write(2, f"rank {rank}: {type(error).__name__}: {error}\n".encode())
        raise
    finally:
        os._exit(code)


def _wait(ranks: list[int]) -> list[int]:
    """Exit codes in order of ranks; once one has failed, the others are killed, as torchrun does."""
    codes: dict[int, int] = {}
    deadline = time.monotonic() + _PATIENCE
    while len(codes) < len(ranks):
        for pid in set(ranks) - set(codes):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[pid] = os.waitstatus_to_exitcode(status)
        if any(codes.values()) or time.monotonic() > deadline:
            for pid in ranks:  # the whole sessions: loader workers outlive a killed rank for some seconds
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            codes |= {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in ranks if pid not in codes}
        time.sleep(0.005)
    return [codes[pid] for pid in ranks]


def main() -> None:
    """Serve attempts, or be one rank."""
    if len(sys.argv) > 1:
        _train(Path(sys.argv[1]), 0, Attempt(**json.loads(sys.argv[2])))
    else:
        _serve()


if __name__ == "__main__":
    main()
