"""HTML out of nested calls: what is text is escaped, what is markup is a type of its own."""

from __future__ import annotations

import html

__all__ = ["Markup", "document", "element"]

# `default-src 'none'`: the page loads nothing and runs nothing, whatever a recipe or a file name holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """An element. Children that are no Markup are text and escaped; `class_` stands for `class`."""
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for name, value in attributes.items()
    )
    inner = "".join(child if isinstance(child, Markup) else html.escape(child) for child in children)
    return Markup(f"<{tag}{said}>" if tag in {"img", "meta"} else f"<{tag}{said}>{inner}</{tag}>")


def document(title: str, style: str, *body: str) -> str:
    """A whole page that stands alone: one file, no scripts, nothing fetched."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', *body), lang='en')}\n"
