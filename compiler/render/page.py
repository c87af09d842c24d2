"""A plan as one page for browsers: everything inline, nothing loaded, no way for a recipe's text to become markup."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compiler.pipeline import Compiled
from compiler.render import figures
from compiler.render.origins import Origins
from compiler.render.page_values import page_values
from compiler.render.visible import clean

__all__ = ["render_page"]

_FOLDER: Final = Path(__file__).parent.parent / "templates"


def render_page(result: Compiled) -> str:
    """HTML of a plan, the same bytes for the same recipe.

    Raises:
        DiagnosticsError: the recipe has errors, so there is no plan.
    """
    plan = result.expect()
    style, script = (_inline(name) for name in ("plan.css.j2", "plan.js.j2"))
    origins = Origins(plan, result.spans)
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": figures.gigabytes,
        "clean": clean,
        "count": figures.figure,
        "flops": figures.flops,
        "hours": figures.hours,
        "percent": figures.percent,
        "seconds": lambda value: figures.hours(value / 3600),
        "usd": figures.usd,
        "whole": lambda value: f"{value:,}",
    }
    values = page_values(result) | {
        "style": style,
        "script": script,
        "policy": _policy(style, script),
        "origin": origins.link,
        "groups": origins.groups(),
    }
    return environment.get_template("plan.html.j2").render(values)


def _inline(name: str) -> Markup:
    """A file of ours, as it is."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))  # noqa: S704  # not a word of it comes from a recipe


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded or sent, and only our own style and script, told by their hashes, may act."""

    def sha(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = {"default-src": "'none'", "style-src": sha(style), "script-src": sha(script)}
    rules |= {"base-uri": "'none'", "form-action": "'none'"}
    return "; ".join(f"{name} {value}" for name, value in rules.items())
