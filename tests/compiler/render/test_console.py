"""What reaches the terminal: its width, its colours, its letters; and what reaches a log."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from compiler.render.console import look_of, say
from compiler.render.visible import cells
from tests.recipes import MINIMAL, ROOT


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minimal recipe in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "r.yaml").write_text(MINIMAL, encoding="utf-8")


def environment(**more: str) -> dict[str, str]:
    """Of a child process that finds the compiler."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}


def on_a_terminal(columns: int, **more: str) -> str:
    """What `recipec plan` writes to a real terminal of this width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-m", "compiler", "plan", "r.yaml"]
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, env=environment(**more)) as child:
        os.close(slave)
        written = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux's way to say that the other side is closed
                break
            if not part:
                break
            written += part
    os.close(master)
    assert child.returncode == 0
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 72])
def test_a_terminal_gets_its_width_and_colours(columns: int) -> None:
    """No line is broken by the terminal itself."""
    text = on_a_terminal(columns)
    plain = re.sub(r"\x1b\[\d+m", "", text)

    assert "\x1b[1m" in text
    assert max(cells(line) for line in plain.split("\n")) <= columns


def test_no_color_is_heeded() -> None:
    """no-color.org."""
    assert "\x1b" not in on_a_terminal(80, NO_COLOR="1")


def test_a_log_has_neither_colour_nor_width_of_its_own() -> None:
    """The same text wherever it is written."""
    command = [sys.executable, "-m", "compiler", "plan", "r.yaml"]
    one, two = (
        subprocess.run(command, capture_output=True, text=True, check=True, env=environment(**more)).stdout
        for more in ({}, {"COLUMNS": "40", "LINES": "5"})
    )

    assert one == two
    assert "\x1b" not in one
    assert "█" in one


def test_a_place_without_unicode_gets_ascii() -> None:
    """`LC_ALL=C` with an old Python, a Windows code page: letters, no question marks, no fault."""
    (Path() / "r.yaml").write_text(MINIMAL.replace("builtin: cpython-docs", "files: dätei-*.txt"), encoding="utf-8")
    (Path() / "dätei-1.txt").write_text("text")
    ascii_only = environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    command = [sys.executable, "-m", "compiler", "plan", "r.yaml"]
    screen = subprocess.run(command, capture_output=True, check=True, env=ascii_only).stdout.decode("ascii")
    document = subprocess.run([*command, "--format", "json"], capture_output=True, check=True, env=ascii_only).stdout

    assert "#" in screen
    assert "?" not in screen
    assert json.loads(document.decode("ascii"))["data"]["sources"]["prose"]["files"] == "dätei-*.txt"


def test_letters_that_a_stream_does_not_have_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a fault in the middle of an answer."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    say("é █")

    assert raw.getvalue() == b"\xe9 \\u2588\n"
    assert look_of(io.TextIOWrapper(io.BytesIO(), encoding="latin-1")).unicode is False
    assert look_of(io.TextIOWrapper(io.BytesIO(), encoding="UTF-8")).unicode is True
