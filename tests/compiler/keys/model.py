"""What is trained: name, seed, objective, model, tokenizer."""

from __future__ import annotations

from tests.compiler.keys.base import TWO_RUNS, Overrides

__all__ = ["BEFORE", "CHANGES"]

# What the recipe says of weights that can't be seen from here: all dimensions, and whose tokenizer they know.
SIZES = (
    "model.intermediate_size=192",
    "model.vocab_size=2048",
    "tokenizer={kind: pretrained, path: /base, vocab_size: 2048}",
)

# What makes a classifier of BASE: none of its text is left.
CLASSIFIER = (
    "objective=classification", "model={depth: 8}", "tokenizer=null", "data={sources: {digits: {builtin: digits}}}", "budget={}",
    "training={duration: 9ba}", "compression=[]", "distillation=null",
)  # fmt: skip
IMAGES: dict[str, str] = {
    "objective.label_smoothing": "objective={kind: classification, label_smoothing: 0.1}", "model.depth": "model.depth=20",
    "model.width": "model.width=8", "model.stem": "model.stem=imagenet", "model.norm": "model.norm=group",
    "model.num_classes": "model.num_classes=12", "data.image.size": "data.image.size=40",
    "data.image.channels": "data.image.channels=1",
}  # fmt: skip

# Path -> overrides that change it. A key that another one excludes comes with what makes room for it.
CHANGES: Overrides = {
    "name": ("name=other",),
    "seed": ("seed=18",),
    "objective.z_loss": ("objective.z_loss=1e-4",),
    "model.start.run": (TWO_RUNS, "sequence.two.model={start: {run: one}}"),
    "model.start.folder": ("model.start={folder: /base}", *SIZES),
    "model.start.hub": ("model.start={hub: org/base}", *SIZES),
    "model.start.revision": ("model.start={hub: org/base, revision: abc}", *SIZES),
    "objective.kind": CLASSIFIER,
    **{key: (*CLASSIFIER, said) for key, said in IMAGES.items()},
    "model.family": ("model.family=gpt2",),
    "model.size": ("model={size: 2M}",),
    "model.hidden_size": ("model.hidden_size=128",),
    "model.num_layers": ("model.num_layers=3",),
    "model.num_heads": ("model.num_heads=2",),
    "model.num_kv_heads": ("model.num_kv_heads=2",),
    "model.intermediate_size": ("model.intermediate_size=256",),
    "model.vocab_size": ("model.vocab_size=4096",),
    "model.tie_embeddings": ("model.tie_embeddings=false",),
    "model.dropout": ("model.family=gpt2", "model.dropout=0.1"),
    "model.rope_theta": ("model.rope_theta=5e5",),
    "model.init_std": ("model.init_std=0.01",),
    "model.attention": ("model.attention=eager",),
    "tokenizer.kind": ("tokenizer={kind: pretrained, hub: gpt2, vocab_size: 50257}",),
    "tokenizer.vocab_size": ("tokenizer.vocab_size=1024",),
    "tokenizer.max_bytes": ("tokenizer.max_bytes=1MB",),
    "tokenizer.path": ("tokenizer={kind: pretrained, path: a, vocab_size: 2048}",),
    "tokenizer.hub": ("tokenizer={kind: pretrained, hub: b, vocab_size: 2048}",),
    "tokenizer.revision": ("tokenizer={kind: pretrained, hub: b, vocab_size: 2048, revision: abc}",),
}

# What a change is compared with, where BASE itself would hide it.
BEFORE: Overrides = {
    **dict.fromkeys(IMAGES, CLASSIFIER),
    "model.start.run": (TWO_RUNS,),
    "model.start.folder": SIZES,
    "model.start.hub": SIZES,
    "model.start.revision": ("model.start={hub: org/base}", *SIZES),
}
