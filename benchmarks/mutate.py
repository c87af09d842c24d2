"""Mutate gallery recipes: every mutant gives a plan or diagnostics, never a traceback.

python -m benchmarks.mutate --count 10000 --seed 0
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from compiler.job.emit import job_files
from compiler.pipeline import compile_recipe
from compiler.render.diagnostics import render
from compiler.render.plan import render_plan

__all__ = ["main", "mutate", "mutate_tree", "outcome"]

GALLERY = Path(__file__).parent.parent / "recipes"

Path_ = tuple[str | int, ...]

_VALUES = [
    "", "~", "true", "-1", "0", "1e309", ".nan", ".inf", "99999999999999999999999999", "1.5", "7B", "300B tok", "$60k",
    "8h", "0.8dur", "2ep", "[]", "{}", "[[[[]]]]", "{a: {b: c}}", "!!python/object:os.system x", "&a [*a]", "*missing",
    "'; rm -rf /'", "$(id)", "../../etc/passwd", "${nope}", "${a}", "\t", '"\\0"', "\u202e", "é" * 70, "x" * 300, "2001-01-01",
    "0x10", "0o7", "1_000", "yes", "? x", "- -", "<<", "|", ">", "'", '"', "%", "@", "`",
]  # fmt: skip


_AMOUNTS = [
    0, 1, 2, 3, 7, 63, 65, 1e-12, 1e-300, 0.5, 0.999999, 10**6, 10**12, 10**17, 2**31, 2**63, 10**40, 1e30, 1e300,
    "1ba", "0ba", "1e17ba", "1e29ba", "1tok", "1e29T tok", "1e12sp", "0.5ep", "1e6ep", "0dur", "0.999dur", "1dur", "1e-99dur",
    "1 tok", "1e17 tok", "1e30 tok", "1000T", "1e30 FLOP", "$0", "$1e29", "1s", "1e29 w", "1B", "1e9PB", "100%", "1e-9%",
]  # fmt: skip
_TEXTS = [
    "",
    " ",
    "é",
    "日本語",
    "a\u0300",
    "\u202egpj",
    "\U0001f600",
    "\u2028",
    "\x85",
    "a\nb",
    "-",
    "..",
    "0",
    "null",
    "<<",
    "x" * 5000,
]


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


def _places(tree: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Paths of everything in a tree, the root left out."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _places(value, (*path, key))


def _holder(tree: Any, path: Path_) -> Any:
    """The mapping or list that holds the value at a path."""
    for key in path[:-1]:
        tree = tree[key]
    return tree


def _move(tree: Any, r: random.Random) -> None:
    """A value goes to another place, under its old key or in the other's stead."""
    places = list(_places(tree))
    source, target = r.choice(places), r.choice(places)
    holder = _holder(tree, target)
    value = copy.deepcopy(_holder(tree, source)[source[-1]])
    if isinstance(holder, dict) and r.random() < 0.5:
        holder[str(source[-1])] = value
    else:
        holder[target[-1]] = value


def _exchange(tree: Any, r: random.Random) -> None:
    """Two values change places."""
    one, other = (r.choice(list(_places(tree))) for _ in range(2))
    if one[: len(other)] == other or other[: len(one)] == one:
        return
    a, b = _holder(tree, one), _holder(tree, other)
    a[one[-1]], b[other[-1]] = b[other[-1]], a[one[-1]]


def _wrap(tree: Any, r: random.Random) -> None:
    """A value becomes a list or a mapping of itself, or the other way round."""
    path = r.choice(list(_places(tree)))
    holder, value = _holder(tree, path), _holder(tree, path)[path[-1]]
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    holder[path[-1]] = r.choice([[value], [value, value], {str(path[-1]): value}, *inner[:2]])


def _amount(tree: Any, r: random.Random) -> None:
    """A number far away from the one that was there, or a quantity of another kind: its shape is right, its sense not."""
    path = r.choice(list(_places(tree)))
    _holder(tree, path)[path[-1]] = r.choice(_AMOUNTS)


def _letters(tree: Any, r: random.Random) -> None:
    """A key or a text in letters that names don't have."""
    path = r.choice(list(_places(tree)))
    holder = _holder(tree, path)
    if isinstance(holder, dict) and r.random() < 0.5:
        holder[r.choice(_TEXTS)] = holder.pop(path[-1])
    else:
        holder[path[-1]] = r.choice(_TEXTS)


_TREE_MUTATIONS: tuple[Callable[[Any, random.Random], None], ...] = (
    _move, _move, _exchange, _wrap, _amount, _amount, _amount, _letters,
)  # fmt: skip


def mutate_tree(text: str, r: random.Random) -> bytes:
    """One to three mutations of a recipe's values: the YAML stays right, what it says doesn't."""
    tree = YAML(typ="safe", pure=True).load(text)
    for _ in range(r.randint(1, 3)):
        if list(_places(tree)):
            r.choice(_TREE_MUTATIONS)(tree, r)
    return json.dumps(tree).encode()  # JSON is YAML


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
        job_files(result.plan)
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
    trees = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.yaml"
        for i in range(options.count):
            is_tree = r.random() < 0.5
            trees += is_tree
            data = (mutate_tree if is_tree else mutate)(r.choice(texts), r)
            path.write_bytes(data)
            try:
                counts[outcome(path)] += 1
            except Exception:  # noqa: BLE001  # what this program looks for
                counts["TRACEBACK"] += 1
                if counts["TRACEBACK"] <= 5:
                    sys.stderr.write(f"mutant {i}:\n{data!r}\n{traceback.format_exc()}\n")
    seconds = time.perf_counter() - started
    kinds = f"{options.count - trees} of lines, {trees} of values"
    print(
        f"{options.count} mutants of {len(texts)} recipes ({kinds}), seed {options.seed}: {dict(counts)}, {seconds:.1f} s"
    )
    return 1 if counts["TRACEBACK"] or counts["RC9"] else 0


if __name__ == "__main__":
    sys.exit(main())
