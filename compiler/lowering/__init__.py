"""Lowers techniques: `lowering/<kind>.py` offers `lower(technique, draft) -> Fragment`, found by the technique's kind."""

from __future__ import annotations

import importlib
from typing import cast

from compiler.draft import Draft
from compiler.lowering.base import Lowering
from schemas.fragment import Fragment
from schemas.techniques import Technique

__all__ = ["lower"]


def lower(kind: str, technique: Technique, draft: Draft) -> Fragment:
    """The fragment of one technique; `kind` is a key of `schemas.techniques.TECHNIQUES`, never a recipe's text."""
    module = importlib.import_module(f"compiler.lowering.{kind}")
    return cast("Lowering", module.lower)(technique, draft)
