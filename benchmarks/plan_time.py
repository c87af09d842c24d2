"""How instant `plan` feels: whole processes beside `import torch`, and 500 compiles in one process.

python -m benchmarks.plan_time
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compiler.job.emit import emit
from compiler.pipeline import compile_recipe

__all__ = ["main"]

ROOT = Path(__file__).parent.parent
QUICKSTART = ROOT / "recipes" / "quickstart.yaml"
RUNS = 7


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - started


def _processes() -> None:
    recipec = [sys.executable, "-m", "compiler"]
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "recipec check": [*recipec, "check", str(QUICKSTART)],
        "recipec plan": [*recipec, "plan", str(QUICKSTART)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():  # caches warm for all
        _seconds(command)
    for _ in range(RUNS):  # in turn, so that a busy moment hits all alike
        for name, command in commands.items():
            times[name].append(_seconds(command))
    torch = statistics.median(times["import torch"])
    print(f"{'whole process':<16}{'min':>8}{'median':>8}{'max':>8}{'of import torch':>18}")
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:<16}{min(values):>8.3f}{middle:>8.3f}{max(values):>8.3f}{middle / torch:>18.2f}")


def _compiles(count: int = 500) -> None:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            emit(compile_recipe(QUICKSTART, (f"seed={i}", f"name=variant-{i}")).expect(), Path(folder))
    seconds = time.perf_counter() - started
    print(
        f"\n{count} recipe variants compiled and written in one process: {seconds:.2f} s, {seconds / count * 1e3:.1f} ms each"
    )


def main() -> None:
    """Print both tables."""
    _processes()
    _compiles()


if __name__ == "__main__":
    main()
