"""What differs between versions of torch, transformers and streaming that we run on, and patches of their internals.

Nothing else in the runtime asks for a version.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from itertools import count
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["attend_without_masks", "private_shared_memory", "replaced_spanner", "rope_arguments"]

_PLAIN_CAUSAL = "recipec_causal_sdpa"
# Far more than a run is killed and started again within seconds.
_SLOTS = 100


def rope_arguments(theta: float) -> dict[str, Any]:
    """Arguments of LlamaConfig for plain rotary positions; transformers 5 moved `rope_theta` into a mapping."""
    import transformers

    if int(transformers.__version__.split(".")[0]) >= 5:
        return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    return {"rope_theta": theta}


def attend_without_masks(model: PreTrainedModel) -> None:
    """Let sdpa attention use torch's causal kernels, for whole sequences without padding: training and held-out loss.

    transformers (4.53 to 5.17 at least) searches each batch for packed sequences and makes a mask of it, which costs
    half of the forward pass of a small model, and keeps sdpa from its flash kernel. It makes none for attention functions
    that it has no mask function of, so sdpa's own function is registered under another name.
    """
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(_PLAIN_CAUSAL, sdpa_attention_forward)
        model.set_attn_implementation(_PLAIN_CAUSAL)


@contextlib.contextmanager
def private_shared_memory(run: Path, *, leads: bool) -> Iterator[None]:
    """Let StreamingDatasets made inside name their shared memory after the run's folder; remove what a killed run left.

    Streaming numbers its segments 0, 1, ... over all processes of a machine: two runs that start together take the same
    number, and segments of a killed run stop the next one ("Reused local directory"). The folder's lock makes sure that
    nobody else uses this run's numbers. Each start takes another of them: seconds after a `kill -9`, Python's resource
    tracker of the killed process removes segments by name, and would remove those of the next start.

    Args:
        run: folder of the run.
        leads: whether this process is the first of its machine; it cleans up. All ranks enter together.
    """
    from streaming.base.shared import prefix

    # Names are at most 31 characters long on macOS; the longest suffix has 19.
    # Two nodes of a run may be one machine: two agents of torchrun, or two tasks of Slurm.
    owner = f"{run}:{os.environ.get('NODE_RANK', '0')}"
    first = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:3], "big") * 1000 + 1_000_000
    number = first + _agreed_slot(_clean(first) if leads else frozenset())

    original = prefix._each_prefix_int
    prefix._each_prefix_int = lambda: count(number)
    try:
        yield
    finally:
        prefix._each_prefix_int = original


def _clean(first: int) -> frozenset[int]:
    """Remove the segments and lock files of earlier starts of a run; which slots had any."""
    from streaming.base.constant import BARRIER_FILELOCK, CACHE_FILELOCK, SHM_TO_CLEAN
    from streaming.base.shared import prefix

    found = set()
    for slot in range(_SLOTS):
        left = [_unlink(prefix._get_path(first + slot, name)) for name in SHM_TO_CLEAN]
        for name in (BARRIER_FILELOCK, CACHE_FILELOCK):
            lock = Path(tempfile.gettempdir(), prefix._get_path(first + slot, name))
            left.append(lock.exists())
            lock.unlink(missing_ok=True)
        if any(left):
            found.add(slot)
    return frozenset(found)


def _agreed_slot(used: frozenset[int]) -> int:
    """A slot that was used on no machine, the same on all ranks."""
    from torch import distributed

    said: list[Any] = [(int.from_bytes(os.urandom(2), "big"), used)]
    if distributed.is_available() and distributed.is_initialized():
        said = [None] * distributed.get_world_size()
        distributed.all_gather_object(said, (int.from_bytes(os.urandom(2), "big"), used))
    start, taken = int(said[0][0]), frozenset[int]().union(*(slots for _, slots in said))
    free = [slot for slot in range(_SLOTS) if slot not in taken] or list(range(_SLOTS))
    return free[start % len(free)]


@contextlib.contextmanager
def replaced_spanner(replacement: type) -> Iterator[None]:
    """Let StreamingDatasets made inside find shards by another class, built from the samples of each shard.

    Streaming's own takes 8 bytes and more for every sample while it is built.
    """
    from streaming.base import dataset

    original = dataset.Spanner
    dataset.Spanner = replacement
    try:
        yield
    finally:
        dataset.Spanner = original


def _unlink(name: str) -> bool:
    """Remove a segment; whether there was one."""
    if os.name != "posix":
        return False
    try:
        segment = SharedMemory(name)
    except FileNotFoundError:
        return False
    segment.close()
    segment.unlink()
    return True
