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

__all__ = ["attend_without_masks", "private_shared_memory", "rope_arguments"]

_PLAIN_CAUSAL = "recipec_causal_sdpa"


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
    nobody else uses this run's numbers.

    Args:
        run: folder of the run.
        leads: whether this process is the first of its machine; it cleans up, the others come after a barrier.
    """
    from streaming.base.constant import BARRIER_FILELOCK, CACHE_FILELOCK, SHM_TO_CLEAN
    from streaming.base.shared import prefix

    # Names are at most 31 characters long on macOS; the longest suffix has 19.
    first = int.from_bytes(hashlib.sha256(str(run).encode()).digest()[:3], "big") * 1000 + 1_000_000

    if leads:
        for number in count(first):
            found = [_unlink(prefix._get_path(number, name)) for name in SHM_TO_CLEAN]
            for name in (BARRIER_FILELOCK, CACHE_FILELOCK):
                lock = Path(tempfile.gettempdir(), prefix._get_path(number, name))
                found.append(lock.exists())
                lock.unlink(missing_ok=True)
            if not any(found):
                break

    original = prefix._each_prefix_int
    prefix._each_prefix_int = lambda: count(first)
    try:
        yield
    finally:
        prefix._each_prefix_int = original


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
