"""What is said when a loader process died or another rank has ended: who is to blame, and not before the launcher knows."""

from __future__ import annotations

import time
from collections.abc import Callable
from unittest.mock import Mock

import pytest
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from runtime.fetching.worker_errors import rank_death, worker_death

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


def _caught(take: Callable[[], None]) -> Exception:
    with pytest.raises((OSError, EOFError)) as caught:
        take()
    return caught.value


@pytest.mark.parametrize("kind", [ConnectionResetError, ConnectionRefusedError, EOFError])
def test_a_worker_that_dies_while_its_batch_is_taken_over(kind: type[Exception]) -> None:
    """torch asks whether a worker has ended when its connection breaks, which may be before the kernel says so."""

    class Loader(_MultiProcessingDataLoaderIter):
        def __init__(self) -> None:
            self._data_queue = Mock(get=Mock(side_effect=kind(104, "broken")))
            self._workers, self._workers_status = [Mock(is_alive=lambda: True)], [True]

        def __del__(self) -> None:
            """There is nothing to end."""

    take: Callable[[], None] = Loader()._try_get_data
    told = worker_death(_caught(take))
    assert told is not None
    assert (told.code, kind.__name__ in told.message) == ("RC606", True)


def test_a_broken_connection_elsewhere_is_no_worker_of_ours() -> None:
    """A tracker's server that hangs up is told as what it is."""

    def track() -> None:
        raise ConnectionResetError(104, "broken")

    assert worker_death(_caught(track)) is None
