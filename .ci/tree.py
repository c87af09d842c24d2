"""Rewrite the tree in README.md: every file with the first line of its own description.

python .ci/tree.py [--check]
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
START, END = "<!-- tree: make tree -->\n```text\n", "```\n<!-- end of tree -->"
# Files that can't describe themselves.
NAMED = {
    ".gitignore": "what git leaves alone",
    "LICENSE": "the licence",
    "py.typed": "this package has types",
    ".ci/run": "what continuous integration runs",
    ".ci/lock": "resolves the locks",
    ".ci/bootstrap.lock": "the installer's own lock",
    ".ci/overrides-next.txt": "versions of the newer stack",
    "pyproject.toml": "packages, dependencies, tools and their rules",
    "requirements.lock": "the default environment, with hashes",
    "requirements-next.lock": "the newer stack, with hashes",
    "Makefile": "every command, `make help` lists them",
    "benchmarks/calibrate/runs.csv": "published runs: what is known before a run, and what was measured",
    "compiler/catalog/calibration.json": "fitted factors of the speed estimate, and the interval of each class",
    "compiler/catalog/devices.csv": "devices: memory, bandwidth, peaks, links, power",
    "compiler/catalog/models.csv": "dimensions of published models",
    "compiler/catalog/prices.csv": "dated quotes of prices, with their sources",
    "tests/compiler/help.txt": "golden: the whole help of the command line",
    "tests/compiler/runs.csv": "runs of a known law, to fit",
    "tests/compiler/site.json": "a cluster's own calibration",
    "tests/data/measured_runs.csv": "some sixty published rows of all kinds",
}
# Folders of many alike files get one line.
FOLDED = {
    "tests/compiler/render/screens": "golden: one plan at several widths and in ASCII",
    "tests/errors": "failing recipes with the finding on the line that causes it",
    "generated/example": "one committed job folder: what `recipec compile recipes/quickstart.yaml` writes",
}


def _files() -> list[str]:
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return sorted(name for name in tracked.stdout.split("\n") if name and (ROOT / name).exists())


def _describe(name: str) -> str:
    path = ROOT / name
    if name in NAMED or path.name in NAMED:
        return NAMED.get(name, NAMED.get(path.name, ""))
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        doc = ast.get_docstring(ast.parse(text)) or ""
        return doc.split("\n")[0].rstrip(".")
    if path.suffix == ".json":
        return "generated: JSON Schema, for editors"
    if path.suffix == ".j2":
        return f"template of {path.name.removesuffix('.j2')}"
    lines = [
        line.strip("#{-}<>! ").rstrip(".")
        for line in text.split("\n")
        if line.strip() and not line.startswith(("#!", "# yaml-lang"))
    ]
    return lines[0] if lines else "empty"


def tree() -> str:
    """The tree as text, folders first named, one line a file."""
    lines: list[str] = []
    seen: set[str] = set()
    for name in _files():
        folded = next((folder for folder in FOLDED if name.startswith(f"{folder}/")), None)
        parts = (folded or name).split("/")
        for depth in range(1, len(parts) + (1 if folded else 0)):
            folder = "/".join(parts[:depth])
            if folder not in seen:
                seen.add(folder)
                note = f"  {FOLDED[folder]}" if folder in FOLDED else ""
                lines.append(f"{'  ' * (depth - 1)}{parts[depth - 1]}/{note}")
        if not folded:
            label = f"{'  ' * (len(parts) - 1)}{parts[-1]}"
            text = _describe(name)
            lines.append(f"{label:<34}{text[:116] if len(text) <= 116 else text[:113] + '...'}".rstrip())
    return "\n".join(lines) + "\n"


def main() -> int:
    """Rewrite, or with --check only compare; 1 if the README is stale."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    fresh = before + START + tree() + END + after
    if "--check" in sys.argv:
        return 0 if fresh == text else 1
    readme.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
