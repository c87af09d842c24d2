"""Domain upsampling at the end against constant mixes, same tokens, several seeds: held-out loss per source, mean and spread.

    apt-get download manpages-fr && dpkg-deb -x manpages-fr_*.deb pages
    python -m benchmarks.domain_upsampling --manuals pages/usr/share/man/fr --work /tmp/upsampling --seeds 1 2 3

The rare source is French: Debian's translated manual pages. `upsampled` draws 7 % of it, then 35 % in the last fifth;
`constant` draws 7 % all along; `same exposure` draws all along what `upsampled` draws in all, 12.6 %, so that it differs in
order alone. All read with one tokenizer: by itself each would train its own, on bytes by the weights of its mix, and losses
per token could not be compared. What is done already in the work folder is not done again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["MIXES", "main", "mixture", "pages", "table"]

ROOT: Final = Path(__file__).parent.parent
BASE: Final = ROOT / "benchmarks" / "domain_upsampling.yaml"

_GENERAL: Final = {"code": 0.68, "prose": 0.32}
"""Shares of all that is not French, in every mix."""

MIXES: Final[Mapping[str, tuple[tuple[float, float], ...]]] = {
    "constant": ((0.0, 0.07),),
    "upsampled": ((0.0, 0.07), (0.8, 0.35)),
    "same exposure": ((0.0, 0.8 * 0.07 + 0.2 * 0.35),),
}
"""(where it begins, in lengths of the run; share of French), by name of the mix."""

Losses = dict[str, float]
"""Held-out nats per token, by source."""


def mixture(knots: Sequence[tuple[float, float]]) -> str:
    """The recipe's `data.mixture`, in YAML's inline form."""
    written = []
    for start, french in knots:
        weights = {name: round(share * (1 - french), 6) for name, share in _GENERAL.items()} | {"french": french}
        weights["french"] = round(1 - sum(weights[name] for name in _GENERAL), 6)
        inner = ", ".join(f"{name}: {weight:g}" for name, weight in weights.items())
        written.append(f"{{from: {start:g}dur, weights: {{{inner}}}}}")
    return f"[{', '.join(written)}]"


def pages(manuals: Path, target: Path) -> None:
    """Each manual page below a folder, set by groff as plain text and unjustified, into a file of `target`."""
    target.mkdir(parents=True, exist_ok=True)
    groff = ["groff", "-K", "utf8", "-man", "-T", "utf8", "-P-cbou", "-rHY=0", "-rLL=100n"]
    for page in sorted(manuals.rglob("*.gz")):
        if page.is_symlink():
            continue
        text = subprocess.run(
            groff,
            input=gzip.decompress(page.read_bytes()),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        ).stdout.decode()
        unjustified = re.sub(r"(?<=\S)[ \u00a0]{2,}", " ", text.replace("\N{HYPHEN}", "-"))
        (target / f"{page.stem}.txt").write_text(re.sub(r"\n{3,}", "\n\n", unjustified), encoding="utf-8")


def _call(module: str, *arguments: str) -> str:
    """One of our programs, on one thread; returns what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, env=environment, check=True, text=True).stdout


def _settings(work: Path, mix: str, seed: int, tokenizer: str) -> list[str]:
    """Overrides of the base recipe, as arguments."""
    settings = [
        f"data.sources.french.files={work / 'french'}/*.txt", f"data.mixture={mixture(MIXES[mix])}", f"seed={seed}",
        f"launch.cache={work / 'cache'}", "launch.threads=1", f"tokenizer={tokenizer}",
    ]  # fmt: skip
    return [part for setting in settings for part in ("--set", setting)]


def _make_tokenizer(work: Path) -> Path:
    """A tokenizer trained on the mix with the exposure of `upsampled`, for all mixes."""
    folder = work / "tokenizer"
    if not folder.is_dir():
        settings = _settings(work, "same exposure", 0, "{vocab_size: 2048, max_bytes: 8MB}")
        jobs = str(work / "tokenizer-jobs")
        job = _call("compiler", "compile", str(BASE), "--out", jobs, *settings).splitlines()[-1]
        plan = str(Path(job) / "plan.yaml")
        _call("runtime", plan, "--runs", str(work / "tokenizer-runs"), "--steps", "tokenizer")
        (made,) = (work / "cache").glob("tokenizer-*")
        shutil.copytree(made, folder)
    return folder


def _run(work: Path, mix: str, seed: int, overrides: Sequence[str]) -> Losses:
    """`recipec run` of one mix and seed; the trained model's held-out loss per source."""
    runs = work / f"{mix.replace(' ', '-')}-{seed}"
    if not list(runs.glob("*/run_report.json")) or not _finished(runs):
        settings = _settings(work, mix, seed, f"{{kind: pretrained, path: {_make_tokenizer(work)}}}")
        more = [part for setting in overrides for part in ("--set", setting)]
        runs.mkdir(parents=True, exist_ok=True)
        shown = _call("compiler", "run", str(BASE), "--out", str(runs / "jobs"), "--runs", str(runs), *settings, *more)
        (runs / "log.txt").write_text(shown, encoding="utf-8")
    report = _report(runs)
    return {name: source["trained"]["loss"] for name, source in report["evaluation"]["sources"].items()}


def _report(runs: Path) -> dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]:
    (path,) = runs.glob("*/run_report.json")
    report: dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]] = json.loads(path.read_text(encoding="utf-8"))
    return report


def _finished(runs: Path) -> bool:
    return _report(runs).get("evaluation") is not None


def table(measured: Mapping[str, Sequence[Losses]]) -> str:
    """Markdown: mean and standard deviation over seeds, and what each mix differs by from the first, seed by seed."""
    first, *others = measured
    sources = list(measured[first][0])
    lines = ["| mix | " + " | ".join(sources) + " |", "| --- |" + " --- |" * len(sources)]
    for mix, runs in measured.items():
        lines.append(f"| {mix} | " + " | ".join(_spread([run[name] for run in runs]) for name in sources) + " |")
    for mix in others:
        pairs = list(zip(measured[mix], measured[first], strict=True))
        cells = (_spread([run[name] - base[name] for run, base in pairs], sign="+") for name in sources)
        lines.append(f"| {mix} minus {first} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(values: Sequence[float], sign: str = "") -> str:
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}.4f}{spread}"


def main() -> int:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manuals", type=Path, required=True, help="folder of French manual pages (.gz)")
    parser.add_argument("--work", type=Path, required=True, help="folder of runs, kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--mixes", nargs="+", choices=MIXES, default=list(MIXES))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="overrides of the base recipe")
    options = parser.parse_args()
    work = options.work.resolve()
    if not (work / "french").is_dir():
        pages(options.manuals, work / "french")
    measured: dict[str, list[Losses]] = {mix: [] for mix in options.mixes}
    for seed in options.seeds:
        for mix in options.mixes:
            measured[mix].append(_run(work, mix, seed, options.set))
            losses = ", ".join(f"{name} {loss:.4f}" for name, loss in measured[mix][-1].items())
            print(f"seed {seed}, {mix}: {losses}", flush=True)
    print(f"\nheld-out nats per token, mean ± standard deviation over {len(options.seeds)} seeds\n\n{table(measured)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
