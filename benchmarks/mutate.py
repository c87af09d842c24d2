"""Mutate gallery recipes: every mutant gives a plan or diagnostics, never a traceback.

python -m benchmarks.mutate --count 10000 --seed 0
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from compiler.pipeline import compile_recipe
from compiler.render_diagnostics import render
from compiler.render_plan import render_plan

__all__ = ["main", "mutate", "outcome"]

GALLERY = Path(__file__).parent.parent / "recipes"

_VALUES = [
    "", "~", "true", "-1", "0", "1e309", ".nan", ".inf", "99999999999999999999999999", "1.5", "7B", "300B tok", "$60k",
    "8h", "0.8dur", "2ep", "[]", "{}", "[[[[]]]]", "{a: {b: c}}", "!!python/object:os.system x", "&a [*a]", "*missing",
    "'; rm -rf /'", "$(id)", "../../etc/passwd", "${nope}", "${a}", "\t", '"\\0"', "\u202e", "é" * 70, "x" * 300, "2001-01-01",
    "0x10", "0o7", "1_000", "yes", "? x", "- -", "<<", "|", ">", "'", '"', "%", "@", "`",
]  # fmt: skip


def _drop(lines: list[str], r: random.Random) -> list[str]:
    i = r.randrange(len(lines))
    return lines[:i] + lines[i + 1 :]


def _duplicate(lines: list[str], r: random.Random) -> list[str]:
    i = r.randrange(len(lines))
    return [*lines[: i + 1], *lines[i:]]


def _swap(lines: list[str], r: random.Random) -> list[str]:
    lines = list(lines)
    i, j = r.randrange(len(lines)), r.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return lines


def _retype(lines: list[str], r: random.Random) -> list[str]:
    """Another value behind one of the colons of a line."""
    i = r.randrange(len(lines))
    parts = lines[i].split(": ")
    if len(parts) < 2:
        return lines
    j = r.randrange(1, len(parts))
    ends = [k for k in (parts[j].find(c) for c in ",}]") if k >= 0]
    cut = min(ends, default=len(parts[j]))
    parts[j] = r.choice(_VALUES) + parts[j][cut:]
    return [*lines[:i], ": ".join(parts), *lines[i + 1 :]]


def _rename(lines: list[str], r: random.Random) -> list[str]:
    """One letter of a line more, less, or another."""
    i = r.randrange(len(lines))
    line = lines[i]
    if not line:
        return lines
    j = r.randrange(len(line))
    letter = chr(r.choice([r.randrange(97, 123), r.randrange(32, 127), r.randrange(0x110000 - 0x3000) % 0xD7FF]))
    changed = r.choice([line[:j] + line[j + 1 :], line[:j] + letter + line[j:], line[:j] + letter + line[j + 1 :]])
    return [*lines[:i], changed, *lines[i + 1 :]]


def _indent(lines: list[str], r: random.Random) -> list[str]:
    i = r.randrange(len(lines))
    return [*lines[:i], r.choice([" ", "  ", "\t"]) + lines[i], *lines[i + 1 :]]


_MUTATIONS: tuple[Callable[[list[str], random.Random], list[str]], ...] = (
    _drop, _duplicate, _swap, _retype, _retype, _retype, _rename, _rename, _indent,
)  # fmt: skip


def mutate(text: str, r: random.Random) -> bytes:
    """One to four mutations of a recipe's lines; one in ten also has random bytes written into it."""
    lines = text.split("\n")
    for _ in range(r.randint(1, 4)):
        lines = r.choice(_MUTATIONS)(lines, r) or [""]
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    if r.random() < 0.1:
        at = r.randrange(len(data) + 1)
        data = data[:at] + r.randbytes(r.randint(1, 8)) + data[at:]
    return data


def outcome(path: Path) -> str:
    """`plan`, or the codes of the errors; whatever else is raised goes through."""
    result = compile_recipe(path)
    for form in ("text", "json", "github"):
        render(result.findings, result.spans, form, color=False, width=100)
    if result.plan is not None:
        render_plan(result.plan)
        return "plan"
    if not result.findings:
        raise AssertionError("neither plan nor finding")
    return "RC9" if any(f.code.startswith("RC9") for f in result.findings) else "diagnostics"


def main() -> int:
    """Run, print the counts; 1 if any mutant raised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    r = random.Random(options.seed)
    texts = [path.read_text(encoding="utf-8") for path in sorted(GALLERY.glob("*.yaml"))]
    counts: Counter[str] = Counter()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.yaml"
        for i in range(options.count):
            data = mutate(r.choice(texts), r)
            path.write_bytes(data)
            try:
                counts[outcome(path)] += 1
            except Exception:  # noqa: BLE001  # what this program looks for
                counts["TRACEBACK"] += 1
                if counts["TRACEBACK"] <= 5:
                    sys.stderr.write(f"mutant {i}:\n{data!r}\n{traceback.format_exc()}\n")
    seconds = time.perf_counter() - started
    print(f"{options.count} mutants of {len(texts)} recipes, seed {options.seed}: {dict(counts)}, {seconds:.1f} s")
    return 1 if counts["TRACEBACK"] or counts["RC9"] else 0


if __name__ == "__main__":
    sys.exit(main())
