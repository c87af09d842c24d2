"""One run at a time per run folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import Refused
from runtime.lock import hold

# Prints when it holds the lock, then keeps a forked child (as a data loader does) and waits to be killed.
_HOLDER = """
import os, sys, time
from pathlib import Path
from runtime.lock import hold
with hold(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(0)
    print(child, flush=True)
    time.sleep(20)
"""


def _start(run: Path) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_held_folder_is_refused_until_its_process_is_gone(tmp_path: Path) -> None:
    """The second run gets RC601 with the holder's process; after kill -9 it gets the lock, though a child lives on."""
    process, child = _start(tmp_path)
    try:
        with pytest.raises(Refused) as caught, hold(tmp_path):
            pass
        assert caught.value.code == "RC601"
        assert caught.value.exit_code == 4
        assert f"process {process.pid} on " in caught.value.message
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(child, 0)
        with hold(tmp_path):
            assert f"process {os.getpid()} " in (tmp_path / "lock").read_text()
    finally:
        process.kill()
        process.wait()
        os.kill(child, signal.SIGKILL)
        assert process.stdout is not None
        process.stdout.close()


def test_a_lock_is_free_after_its_block(tmp_path: Path) -> None:
    """Runs one after the other don't disturb each other."""
    for _ in range(2):
        with hold(tmp_path / "run"):
            assert (tmp_path / "run" / "lock").exists()
