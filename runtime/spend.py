"""What a training has cost so far, over all its sessions, and the caps that stop it.

The books are the file spend.json of the run's folder, written every few seconds, whatever the training does meanwhile: a
killed session has been paid for too. In a sequence each run has its own; caps of the recipe's top level hold for all
together, so what earlier runs have spent is carried. Counted is the time in which the devices are held by the training step:
starting, training, evaluating, saving. The clock is the machine's uptime: it knows no summer time, and stands while a laptop
sleeps.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from runtime import checkpoint
from runtime.errors import RunFailed
from runtime.files import read_json, write_json
from runtime.layout import Layout
from runtime.lineage import plans
from runtime.status import say
from schemas.plan import RunPlan
from schemas.units import format_seconds, format_usd

__all__ = ["Cap", "Meter", "Spend", "caps_of", "open_books", "read_spend", "shared_caps", "spent", "spent_before"]

Cap = Literal["max_cost", "max_hours"]

_WRITE_SECONDS: Final = 5.0
# Writing, syncing and hashing fp32 weights and two moments at 0.5 GB/s (docs/log.md), until a save has been seen.
_SAVE_SECONDS_PER_PARAMETER: Final = 12 / 0.5e9


@dataclass(frozen=True)
class Spend:
    """The books.

    Args:
        seconds: wall-clock of all sessions.
        device_seconds: the same times the devices of each.
        usd: the same times the price of each.
        stopped_by: the cap that ended the last session, if one did, and its value (dollars or seconds).
        cap: that value.
    """

    seconds: float = 0.0
    device_seconds: float = 0.0
    usd: float = 0.0
    stopped_by: Cap | None = None
    cap: float = 0.0

    def plus(self, seconds: float, devices: int, usd_per_hour: float) -> Spend:
        """The books after a session of so many seconds."""
        held = seconds * devices
        return replace(
            self,
            seconds=self.seconds + seconds,
            device_seconds=self.device_seconds + held,
            usd=self.usd + held / 3600 * usd_per_hour,
        )

    def unstopped(self) -> Spend:
        """The same books, ended by no cap."""
        return replace(self, stopped_by=None, cap=0.0)

    def values(self) -> dict[str, Any]:
        """What the training's result says of it."""
        return asdict(self)


def read_spend(path: Path) -> Spend | None:
    """The books of a run; None where there are none, or none that can be read."""
    stored = read_json(path)
    try:
        found = Spend(**stored)
        numbers = (found.seconds, found.device_seconds, found.usd, found.cap)
        return found if all(math.isfinite(n) and n >= 0 for n in numbers) else None
    except (TypeError, OverflowError):
        return None


def open_books(path: Path, checkpoints: Path, plan: RunPlan) -> Spend:
    """What earlier sessions have cost. Lost books are made again from the newest checkpoint: it knows its training's seconds.

    Args:
        path: spend.json.
        checkpoints: folder of them.
        plan: with the price that lost seconds are counted at.
    """
    found = read_spend(path)
    if found is not None:
        return found
    seconds, devices = checkpoint.newest_cost(checkpoints) or (0.0, 0)
    spend = Spend().plus(seconds, devices, plan.hardware.usd_per_gpu_hour)
    if path.exists() or devices:
        known = f"{format_usd(spend.usd)} for the {format_seconds(seconds)} of training in its newest checkpoint"
        say(f"warning[RC608]: what the run has cost so far can't be read from {path}; counted are {known}")
    return spend


def spent_before(plan: RunPlan, layout: Layout) -> Spend:
    """What the runs before this one in its sequence have spent together."""
    found = Spend()
    for run in plans(plan)[:-1]:
        books = read_spend(Layout.of(run, roots=layout.roots, runs=layout.runs).spend) or Spend()
        found = replace(
            found,
            seconds=found.seconds + books.seconds,
            device_seconds=found.device_seconds + books.device_seconds,
            usd=found.usd + books.usd,
        )
    return found


def caps_of(plan: RunPlan, carried: Spend) -> dict[Cap, float]:
    """What the run itself may spend, in dollars and seconds: its own caps, and what earlier runs left of those of all runs."""
    own: dict[Cap, float | None] = {"max_cost": plan.budget.max_cost_usd, "max_hours": plan.budget.max_seconds}
    shared = {cap: limit - spent(carried, cap) for cap, limit in shared_caps(plan).items()}
    found: dict[Cap, float] = {}
    for cap, limit in own.items():
        limits = [value for value in (limit, shared.get(cap)) if value is not None]
        if limits:
            found[cap] = max(min(limits), 0.0)
    return found


def shared_caps(plan: RunPlan) -> dict[Cap, float]:
    """Caps of all runs of the sequence together."""
    if plan.totals is None:
        return {}
    found: dict[Cap, float | None] = {"max_cost": plan.totals.max_cost_usd, "max_hours": plan.totals.max_seconds}
    return {cap: limit for cap, limit in found.items() if limit is not None}


def spent(spend: Spend, cap: Cap) -> float:
    """What counts towards a cap: dollars, or seconds."""
    return spend.usd if cap == "max_cost" else spend.seconds


class Meter:
    """Counts a session into the books; only the first process has one.

    Inside the block time is counted; a thread writes the books, so that no step waits for a disk, and a session that is
    killed in its start or in an evaluation is in them too. They are written when the block ends, however it does.

    Args:
        path: spend.json.
        plan: price, devices and caps.
        devices: that the session holds.
        clock: seconds that never go back.
        before: the books so far; default: those at `path`.
        carried: what earlier runs of the sequence have spent.
    """

    def __init__(
        self,
        path: Path,
        plan: RunPlan,
        devices: int,
        clock: Callable[[], float] = time.monotonic,
        before: Spend | None = None,
        carried: Spend | None = None,
    ) -> None:
        self._path, self._plan, self._devices, self._clock = path, plan, devices, clock
        self._caps = caps_of(plan, carried or Spend())
        self._before = before or read_spend(path) or Spend()
        self._began = self._last = clock()
        self._longest = 0.0
        self._stopped: Cap | None = None
        self._closed: Spend | None = None
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._keep, name="spend", daemon=True)
        self._failure: Exception | None = None

    def refuses(self) -> Cap | None:
        """The cap under which not even one more batch is worth starting for, if there is one."""
        for cap, limit in self._caps.items():
            stopped_here = self._before.stopped_by == cap and limit <= self._before.cap
            if stopped_here or spent(self._before, cap) >= limit:
                return cap
        return None

    def refusal(self, cap: Cap) -> Spend:
        """The books of a session that is not begun because of a cap."""
        return replace(self._before, stopped_by=cap, cap=self._caps[cap])

    def now(self) -> Spend:
        """The books up to this moment, or to the end of the session."""
        if self._closed is not None:
            return self._closed
        spend = self._before.plus(self._clock() - self._began, self._devices, self._plan.hardware.usd_per_gpu_hour)
        cap = self._stopped
        return replace(spend, stopped_by=cap, cap=self._caps[cap] if cap else 0.0)

    def batch_ended(self) -> Cap | None:
        """Book a batch; returns the cap that one more batch and a checkpoint would pass, if there is one.

        Raises:
            RunFailed: the books can't be written any more (RC604).
        """
        if self._failure is not None:
            raise self._failure
        now = self._clock()
        self._longest, self._last = max(self._longest, now - self._last if self._last > self._began else 0.0), now
        reserve = self._longest + _SAVE_SECONDS_PER_PARAMETER * self._plan.model.num_parameters
        ahead = self.now().plus(reserve, self._devices, self._plan.hardware.usd_per_gpu_hour)
        return next((cap for cap, limit in self._caps.items() if spent(ahead, cap) >= limit), None)

    def stop(self, cap: Cap) -> None:
        """Note that the session ends at a cap."""
        self._stopped = cap

    def write(self) -> None:
        """Write the books.

        Raises:
            RunFailed: the disk is full or can't be written (RC604).
        """
        write_json(self._path, asdict(self.now()))

    def _keep(self) -> None:
        while not self._over.wait(_WRITE_SECONDS):
            try:
                self.write()
            except (RunFailed, OSError) as error:
                self._failure = error
                return

    def __enter__(self) -> Self:
        self._began = self._last = self._clock()
        self.write()
        self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._writer.join()
        self._closed = self.now()
        # What ended the session matters more than that its last seconds could not be written.
        with contextlib.suppress(RunFailed, OSError) if kind else contextlib.nullcontext():
            self.write()
