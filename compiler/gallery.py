"""The gallery: recipes that come with recipec, to start from."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import schemas
from compiler.frontend.suggest import closest
from schemas.diagnostics import Diagnostic, DiagnosticsError

__all__ = ["describe", "gallery", "start"]

_CHECKOUT: Final = Path(__file__).resolve().parent.parent
_INSTALLED: Final = Path(sys.prefix) / "share" / "recipec" / "recipes"
_SCHEMA_LINE: Final = re.compile(r"\A# yaml-language-server: \$schema=.*$", re.MULTILINE)


def gallery() -> dict[str, Path]:
    """Name -> recipe, in alphabetical order; beside the source in a checkout, else where the package put them."""
    folder = _CHECKOUT / "recipes"
    return {path.stem: path for path in sorted((folder if folder.is_dir() else _INSTALLED).glob("*.yaml"))}


def describe(path: Path) -> str:
    """What the recipe says of itself: its first line of comment that is not for the editor; empty without one."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not _SCHEMA_LINE.match(line):
            return line.lstrip("# ").rstrip()
    return ""


def start(name: str, target: Path) -> Path:
    """Copy a recipe of the gallery to `target` (a file that doesn't exist yet, or a folder) and return the copy's path.

    The editor's schema line and the paths under `extends:` are rewritten, so that they lead where they led.

    Raises:
        DiagnosticsError: there is no such recipe (RC001), or the target exists or can't be written (RC604).
    """
    recipes = gallery()
    if name not in recipes:
        guess = closest(name, recipes)
        help_ = f"did you mean `{guess}`?" if guess else f"choose from {', '.join(recipes)}"
        raise _refused("RC001", f"the gallery has no recipe `{name[:60]}`", help_)
    copy = target / f"{name}.yaml" if target.is_dir() else target
    text = _moved(recipes[name], copy.parent)
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except OSError as error:
        if isinstance(error, FileExistsError) and copy.parent.is_dir():
            raise _refused("RC604", f"{copy} exists and is not overwritten", "choose another name with --to") from error
        why = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror
        raise _refused("RC604", f"{copy} can't be written: {why}", "choose another folder with --to") from error
    return copy


def _refused(code: str, message: str, help_: str) -> DiagnosticsError:
    return DiagnosticsError((Diagnostic(code=code, message=message, help=help_),))


def _moved(recipe: Path, folder: Path) -> str:
    """The recipe's text as it must stand in `folder`."""
    text = recipe.read_text(encoding="utf-8")
    for start_index, end_index, value in reversed(list(_extends(text))):
        path = json.dumps(_reference(recipe.parent / value, folder), ensure_ascii=False)
        text = text[:start_index] + path + text[end_index:]
    schema = _reference(Path(schemas.__file__).parent / "recipe.schema.json", folder)
    return _SCHEMA_LINE.sub(lambda _: f"# yaml-language-server: $schema={schema}", text, count=1)


def _reference(path: Path, folder: Path) -> str:
    """How a file in `folder` names `path`: relative within the checkout, which may move as a whole; else absolute."""
    path, folder = path.resolve(), folder.resolve()
    return Path(os.path.relpath(path, folder)).as_posix() if folder.is_relative_to(_CHECKOUT) else path.as_posix()


def _extends(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and value of every path under the top-level `extends:`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

    root = YAML(typ="safe", pure=True).compose(text)
    for key, value in root.value if isinstance(root, MappingNode) else ():
        if key.value == "extends":
            for node in value.value if isinstance(value, SequenceNode) else [value]:
                if isinstance(node, ScalarNode) and not os.path.isabs(node.value):
                    yield node.start_mark.index, node.end_mark.index, node.value
