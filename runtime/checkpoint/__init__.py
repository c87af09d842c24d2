"""Checkpoints on disk: whole or not there, checked by hash, and read without running code.

    checkpoints/ba00000100/state.pt          tensors and plain values: model, optimizer, algorithms, data, random state
    checkpoints/ba00000100/checkpoint.json   manifest: plan, progress, size and sha256 of each file

A folder is written under a temporary name, synced and renamed, so that a kill, a full disk or a power cut leaves the one
before it as it was. `torch.load(weights_only=True)` builds tensors and plain values, and refuses everything else.
"""

from runtime.checkpoint.manifest import FORMAT, MANIFEST, STATE, Progress, folder_name
from runtime.checkpoint.reading import Checkpoint, latest, newest_cost, newest_whole, read
from runtime.checkpoint.weights import EMA_STATE, MASK_STATE, final_weights, of_trained, trained_names
from runtime.checkpoint.writing import hand_over, prune, save

__all__ = [
    "EMA_STATE",
    "FORMAT",
    "MANIFEST",
    "MASK_STATE",
    "STATE",
    "Checkpoint",
    "Progress",
    "final_weights",
    "folder_name",
    "hand_over",
    "latest",
    "newest_cost",
    "newest_whole",
    "of_trained",
    "prune",
    "read",
    "save",
    "trained_names",
]
