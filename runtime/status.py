"""What a run says of itself while it goes: lines for people, status.json for scripts.

status.json exists because torchrun turns every exit code of its processes into 1.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TextIO

from runtime.bias.text import facts as comparison_facts
from runtime.errors import RunError
from runtime.files import read_json, write_json
from schemas.counted import TOKENS, Counted, several
from schemas.units import format_bytes, format_count, format_tokens

__all__ = [
    "State",
    "Status",
    "facts",
    "printable",
    "rank",
    "say",
    "show_error",
    "soften_streams",
    "world_size",
    "write_line",
]

State = Literal["running", "finished", "interrupted", "capped", "failed"]


def rank() -> int:
    """This process among all of the run, from 0; torchrun says it."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Processes of the run; torchrun says it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def printable(text: str) -> str:
    """Text without control characters: file names and generated text must not steer the terminal."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def say(text: str) -> None:
    """Print for people, from the first process only."""
    if rank() == 0:
        write_line(text, sys.stdout)


def show_error(error: RunError) -> None:
    """An error as people meet it everywhere in recipec: code, message, remedy."""
    write_line(f"error[{error.code}]: {error.message}\n  = help: {error.remedy}", sys.stderr)


def write_line(text: str, stream: TextIO) -> None:
    """Write a line, printable. A reader that went away (`| head`) doesn't stop the run."""
    try:
        print(printable(text), file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def soften_streams() -> None:
    """Let output be written that its encoding has no character for, or that nobody wants (`2>&-`)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for the whole process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@dataclass(frozen=True)
class Status:
    """The file status.json of one run folder."""

    path: Path

    def begin(self, step: str | None) -> None:
        """Say that the run goes, and at which step it is."""
        if rank() == 0:
            self._write("running", step, None)

    def end(self, state: State, exit_code: int) -> None:
        """Say how the run ended, and at which step.

        Ranks but the first tell of failures only; and a failure stays, since the other ranks are stopped because of it.
        """
        if state == "failed" or (rank() == 0 and not self.failed()):
            stored = read_json(self.path)
            self._write(state, stored.get("step") if isinstance(stored, dict) else None, exit_code)

    def failed(self) -> bool:
        """Whether a process of this run has said that it failed; then the others ended because of it."""
        stored = read_json(self.path)
        return isinstance(stored, dict) and stored.get("state") == "failed"

    def _write(self, state: State, step: str | None, exit_code: int | None) -> None:
        value = {"state": state, "step": step, "exit_code": exit_code, "pid": os.getpid(), "rank": rank()}
        write_json(self.path, value)


def facts(kind: str, values: Mapping[str, Any], counted: Counted = TOKENS) -> str:
    """What is worth knowing of a finished step of a run that counts tokens or images, in half a line."""
    return _FACTS[kind](values, counted) if kind in _FACTS else ""


def _prepare_facts(values: Mapping[str, Any], counted: Counted) -> str:
    train, heldout = values["train"], values["heldout"]
    if "classes" in values:
        broken = values["skipped"]["broken"]
        left_out = f", {several(broken, 'broken one')} left out" if broken else ""
        images = f"{counted.number(train['samples'])} to train on, {heldout['samples']:,} held out"
        return f"{images}, {several(len(values['classes']), 'class', 'classes')}{left_out}"
    text = f"{format_tokens(train['tokens'])} to train on, {format_tokens(heldout['tokens'])} held out"
    skipped = sum(values.get("skipped", {}).values())
    return text + (f", {several(skipped, 'document')} left out" if skipped else "")


def _score_facts(values: Mapping[str, Any], _: Counted) -> str:
    (metric, found), *_ = values["metrics"].items()
    span = f"{metric} {found['min']:.4g} to {found['max']:.4g}, mean {found['mean']:.4g}"
    undefined = f", {found['undefined']:,} too short for it" if found["undefined"] else ""
    return (
        f"{span}; {several(values['documents'], 'document')}{undefined}, {values['reused_documents']:,} scored before"
    )


def _logits_facts(values: Mapping[str, Any], _: Counted) -> str:
    which = f"{several(values['top_k'], 'logit')} of each prediction in {several(values['samples'], 'sample')}"
    kept = f"{which}, {format_bytes(values['bytes'])}"
    return f"{kept}; all others had {values['rest']:.1%} of the probability"


def _train_facts(values: Mapping[str, Any], counted: Counted) -> str:
    return (
        f"{several(values['steps'], 'batch', 'batches')}, {counted.amount(values['tokens'])}, loss {values['loss']:.4f}, "
        f"{counted.speed(values['tokens_per_s'])}"
    )


def _compress_facts(values: Mapping[str, Any], counted: Counted) -> str:
    size, speed = values["bytes"], values["tokens_per_s"]
    return (
        f"{format_bytes(size['before'])} > {format_bytes(size['after'])}, "
        f"{format_count(speed['before'])} > {counted.speed(speed['after'])}"
    )


def _evaluate_facts(values: Mapping[str, Any], _: Counted) -> str:
    """Loss of the model that leaves the run, and of images the share that it gets right."""
    found = []
    for name, measured in values["sources"].items():
        last = measured.get("shipped") or measured["trained"]
        right = f" and {last['accuracy']:.1%} right" if last.get("accuracy") is not None else ""
        found.append(f"{name} {last['loss']:.3f} nats{right}")
    return ", ".join(found) or "nothing is held out"


_FACTS: Final[dict[str, Callable[[Mapping[str, Any], Counted], str]]] = {
    "tokenizer": lambda values, _: f"{values['vocab_size']:,} tokens in the vocabulary",
    "prepare": _prepare_facts,
    "score": _score_facts,
    "logits": _logits_facts,
    "train": _train_facts,
    "compress": _compress_facts,
    "evaluate": _evaluate_facts,
    "compare": lambda values, _: comparison_facts(values),
    "export": lambda values, _: f"{format_bytes(values['bytes'])} in {values['folder']}",
}
