"""Data: sources, mixture, curricula, selection."""

from __future__ import annotations

from tests.compiler.keys.base import Overrides

__all__ = ["BEFORE", "CHANGES", "DIFFICULTY"]

# Key of a curriculum of difficulty -> what it is compared with, and the change; over the mix and of a source.
DIFFICULTY: dict[str, tuple[str, str]] = {
    "by": ("{by: length}", "{by: mtld}"),
    "order": ("{by: length}", "{by: length, order: hard_to_easy}"),
    "pacing": ("{by: length}", "{by: length, pacing: linear}"),
    "start": ("{by: length}", "{by: length, start: 0.1}"),
    "duration": ("{by: length}", "{by: length, duration: 0.25dur}"),
    "power": ("{by: length, pacing: root}", "{by: length, pacing: root, power: 4}"),
    "growth": ("{by: length, pacing: exponential}", "{by: length, pacing: exponential, growth: 2}"),
    "stages": ("{by: length, pacing: step}", "{by: length, pacing: step, stages: 7}"),
    "buckets": ("{by: length}", "{by: length, buckets: 20}"),
    "model": ("{by: loss, model: a}", "{by: loss, model: b}"),
}

# Path -> overrides that change it. A key that another one excludes comes with what makes room for it.
CHANGES: Overrides = {
    "data.sequence_length": ("data.sequence_length=64",),
    "data.sources": ("data.sources.code.tokens=9M",),
    "data.mixture[].from": ("data.mixture[1].from=0.25dur",),
    "data.mixture[].weights": ("data.mixture[1].weights={code: 0.4, prose: 0.6}",),
    "data.mixture[].transition": ("data.mixture[1].transition=linear",),
    "data.domain_upsampling.fraction": ("data.domain_upsampling={weights: {code: 1}, fraction: 0.1}",),
    "data.domain_upsampling.weights": ("data.domain_upsampling={weights: {prose: 1}}",),
    "data.domain_upsampling.keep": ("data.domain_upsampling={weights: {code: 1}, keep: 0.4}",),
    "data.domain_upsampling.keep_sources": ("data.domain_upsampling={weights: {code: 1}, keep_sources: [code]}",),
    "data.curriculum[].start_length": ("data.curriculum.start_length=32",),
    "data.curriculum[].step_size": ("data.curriculum.step_size=16",),
    "data.curriculum[].truncate": ("data.curriculum.truncate=false",),
    **{f"data.curriculum[].{key}": (f"data.curriculum={after}",) for key, (_, after) in DIFFICULTY.items()},
    "data.shuffle_block": ("data.shuffle_block=4096",),
    "data.selection.min_bytes": ("data.selection.min_bytes=100",),
    "data.selection.max_bytes": ("data.selection.max_bytes=1MB",),
    "data.selection.deduplicate": ("data.selection.deduplicate=exact",),
}

# What a change is compared with, where BASE itself would hide it.
BEFORE: Overrides = {
    **{f"data.curriculum[].{key}": (f"data.curriculum={before}",) for key, (before, _) in DIFFICULTY.items()},
    **{
        f"data.domain_upsampling.{key}": ("data.domain_upsampling={weights: {code: 1}}",)
        for key in ("fraction", "weights", "keep", "keep_sources")
    },
}
