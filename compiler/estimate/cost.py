"""Wall-clock, money and energy of a run from what it does: pure functions of plain numbers.

Constants are measured (docs/log.md, 2 cores, busy) or printed by somebody, and are good to a factor of two; a training of
days depends on them little, one of minutes mostly on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

from schemas.curriculum import Metric

__all__ = [
    "AFTER_START_SECONDS",
    "OVERHEAD_SPREAD",
    "PREPARE_START_SECONDS",
    "Times",
    "best_interval_seconds",
    "checkpoint_bytes",
    "checkpoint_seconds",
    "co2e_kg",
    "energy_kwh",
    "prepare_seconds",
    "restart_seconds",
    "restarts",
    "score_seconds",
    "startup_seconds",
    "training_usd",
]

OVERHEAD_SPREAD: Final = 2.0
"""All but training and evaluation is known to this factor."""

PREPARE_START_SECONDS: Final = 5.0
"""Of a step on data: importing its libraries, looking at its files."""
AFTER_START_SECONDS: Final = 1.0
"""Of a step after the training, in whose process all is imported: a small model is loaded, read and written in 0.2 to 3 s."""

# A byte-level BPE on one core, with reading, packing and hashing: 4.9M tokens of the quickstart in 13 s on 2 busy cores.
_TOKENS_PER_CORE_SECOND: Final = 0.2e6
# Packing and writing are one process, however many cores the tokenizer has.
_MOST_TOKENS_PER_SECOND: Final = 1e6
# Text that one core scores in a second of processor time: benchmarks/scoring.py on CPython's documents. Readability runs at a
# tenth of it until pyphen has met the corpus' words. Loss: a model of 10M parameters on a CPU, 1,300 tokens/s; a larger one is
# slower, a GPU much faster.
_SCORED_BYTES_PER_CORE_SECOND: Final[dict[Metric, float]] = {
    "length": 1e9,
    "unigram_entropy": 50e6,
    "compression_ratio": 150e6,
    "ttr": 70e6,
    "mtld": 29e6,
    "hdd": 44e6,
    "vocd": 35e6,
    "flesch_reading_ease": 8e6,
    "flesch_kincaid": 8e6,
    "loss": 3.3e3,
}
# One process reads the documents (JSON lines), finds out which are known, and hands the others out.
_MOST_SCORED_BYTES_PER_SECOND: Final = 100e6
_BYTES_PER_TOKEN: Final = 4.0
# Importing Composer, building the model, the first batch: 5 s on a quiet CPU that has prepared data before, 20 on a busy one;
# containers and NCCL take minutes. Later runs of a sequence are in the same process: 2.5 to 3.5 s on a CPU, on GPUs not known.
_START_SECONDS: Final = {"cpu": 10.0, "gpu": 120.0}
_START_AGAIN_SECONDS: Final = {"cpu": 3.0, "gpu": 120.0}
# The first steps choose kernels and fill allocators and caches: the quickstart's first takes as long as six others.
_RAMP_STEPS: Final = 10.0
# torch.compile of a decoder, once a start.
_COMPILE_SECONDS: Final = 90.0
# The first process writes, syncs and hashes the gathered state: 0.3 to 0.55 GB/s measured for 0.5 GB.
_SAVE_BYTES_PER_SECOND: Final = 0.5e9
# Until somebody or something has noticed, replaced the machine and started again. Llama 3's run lost less than 10 % of 54 days
# to 466 interruptions: 17 minutes each, work done again included.
_RECOVERY_SECONDS: Final = {"cpu": 0.0, "gpu": 300.0}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of wall-clock by what they are spent on.

    Args:
        startup: containers, imports, the first slow steps; once, restarts have their own.
        prepare: tokenizer and sources, on one machine that needs no GPU.
        training: optimizer steps at full speed, and before them what teachers say where that is kept.
        evaluation: held-out text while training and after it.
        checkpoints: training waits while they are written.
        restarts: after failures: starting again, and work that is lost and done again.
    """

    startup: float
    prepare: float
    training: float
    evaluation: float
    checkpoints: float
    restarts: float

    @property
    def parts(self) -> dict[str, float]:
        """By name, in the order of a run."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def total(self) -> float:
        """From the first command to the exported model."""
        return sum(self.parts.values())

    @property
    def held(self) -> dict[str, float]:
        """Of each part, the seconds in which the devices are held; preparing needs none of them."""
        return self.parts | {"prepare": 0.0}

    def at(self, speed: float, overhead: float) -> Times:
        """The same run with training and evaluation `speed` times as fast, and all else `overhead` times as long."""
        return Times(
            startup=self.startup * overhead,
            prepare=self.prepare * overhead,
            training=self.training / speed,
            evaluation=self.evaluation / speed,
            checkpoints=self.checkpoints * overhead,
            restarts=self.restarts * overhead,
        )


def startup_seconds(kind: str, step_seconds: float, *, compiled: bool, again: bool = False) -> float:
    """From the start of a training to full speed, on a `cpu` or `gpu`; `again`: in a process that has trained another run."""
    start = _START_AGAIN_SECONDS if again else _START_SECONDS
    return start[kind] + _RAMP_STEPS * step_seconds + (_COMPILE_SECONDS if compiled else 0.0)


def prepare_seconds(tokens: float, cores: int) -> float:
    """Tokenizing and writing a source on one machine."""
    return PREPARE_START_SECONDS + tokens / min(_MOST_TOKENS_PER_SECOND, _TOKENS_PER_CORE_SECOND * cores)


def score_seconds(metric: Metric, tokens: float, cores: int) -> float:
    """Scoring a source's documents by a metric, and ordering its samples; scores that are kept make it shorter."""
    rate = min(_MOST_SCORED_BYTES_PER_SECOND, _SCORED_BYTES_PER_CORE_SECOND[metric] * cores)
    return PREPARE_START_SECONDS + tokens * _BYTES_PER_TOKEN / rate


def checkpoint_bytes(parameters: float, states: int, extra_parameters: float = 0.0) -> float:
    """A checkpoint: fp32 weights and `states` numbers of the optimizer for each, averages and masks beside them."""
    return 4.0 * parameters * (1 + states) + 4.0 * extra_parameters


def checkpoint_seconds(size_bytes: float) -> float:
    """Writing one: the state is gathered on the first process, which writes, syncs and hashes it."""
    return size_bytes / _SAVE_BYTES_PER_SECOND


def restart_seconds(kind: str, startup: float, size_bytes: float) -> float:
    """From a failure to the first new step: noticing it, starting, reading and checking the checkpoint."""
    return _RECOVERY_SECONDS[kind] + startup + checkpoint_seconds(size_bytes)


def restarts(work: float, interval: float, save: float, restart: float, mtbf: float) -> float:
    """Seconds that failures add to a run, work done again included (Daly 2006, eq. 13, failures without memory).

    T = M e^(R/M) (e^((tau + delta)/M) - 1) W/tau, of which W (1 + delta/tau) is not due to failures.

    Args:
        work: W, seconds without failures and checkpoints.
        interval: tau, seconds of work between two checkpoints.
        save: delta, seconds to write one.
        restart: R, seconds from a failure to the first new step.
        mtbf: M, mean seconds between failures of all machines together.
    """
    if work <= 0:
        return 0.0
    interval = min(interval, work)
    # Beyond this nothing ever finishes, and numbers must stay finite.
    failures = min((interval + save) / mtbf, 300.0)
    total = mtbf * math.exp(min(restart / mtbf, 300.0)) * math.expm1(failures) * work / interval
    return max(0.0, total - work * (1 + save / interval))


def best_interval_seconds(save: float, mtbf: float) -> float:
    """Work between two checkpoints that loses least: sqrt(2 delta M) (Young 1974)."""
    return math.sqrt(2.0 * save * mtbf)


def training_usd(tokens: float, tokens_per_s_per_gpu: float, gpus: int, usd_per_gpu_hour: float) -> float:
    """Dollars of trained tokens alone, as published tables of costs count them."""
    return tokens / (tokens_per_s_per_gpu * gpus) / 3600.0 * gpus * usd_per_gpu_hour


def energy_kwh(device_hours: float, tdp_watts: float, pue: float) -> float:
    """Energy at the site: board power all the time that a device is held, times PUE.

    So LLaMA's report counts (Touvron et al. 2023, section 6; BLOOM's does too): a GPU that trains draws somewhat less than its
    board power, and its share of the host, which is left out, somewhat more than that difference.
    """
    return device_hours * tdp_watts / 1000.0 * pue


def co2e_kg(kwh: float, kg_per_kwh: float) -> float:
    """CO2 equivalents of electricity."""
    return kwh * kg_per_kwh
