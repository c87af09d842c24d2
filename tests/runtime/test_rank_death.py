"""What a rank says when another one has ended: that it isn't to blame, and not before the launcher knows who is."""

from __future__ import annotations

import time

import pytest

from runtime.data.worker_errors import rank_death

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:33994"
NCCL = "ncclRemoteError: A call failed possibly due to a network error or a remote process exited prematurely."


@pytest.mark.parametrize("said", [GLOO, NCCL])
def test_a_lost_rank_is_told_after_the_rank_itself(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a head start the exit code of the run would be that of whoever was first by chance."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    error = rank_death(RuntimeError(said))
    assert error is not None
    assert error.code == "RC606"
    assert "another process" in error.message
    assert sum(slept) >= 1


def test_other_errors_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told at once, as what they are."""
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    assert rank_death(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
