"""Commands around recipes: init, schema, doctor."""

from __future__ import annotations

import sys
from pathlib import Path

from compiler.commands.common import report
from compiler.render.console import Exit, Format, color_of, emit_json, say, warn
from schemas.diagnostics import DiagnosticsError

__all__ = ["doctor", "init", "schema"]


def init(name: str | None, to: Path | None, output: Format) -> int:
    """Copy a recipe of the gallery, or list them."""
    from compiler.gallery import describe, gallery, start

    if name is None and to is not None:
        warn("error: which recipe should be written there? `recipec init` lists the gallery")
        return Exit.USAGE
    if name is None:
        found = {key: describe(path) for key, path in gallery().items()}
        if output is Format.JSON:
            emit_json({"gallery": found})
        else:
            say("\n".join([f"  {key:<24}{text}" for key, text in found.items()] + ["start with: recipec init NAME"]))
        return Exit.FINE
    try:
        written = start(name, to or Path(f"{name}.yaml"))
    except DiagnosticsError as error:
        report(error, output)
        return Exit.USAGE
    if output is Format.JSON:
        emit_json({"recipe": str(written)})
    else:
        say(f"{written}\nnext: recipec plan {written}")
    return Exit.FINE


def schema(subject: str) -> int:
    """Print a JSON Schema."""
    import json

    from compiler.schema_docs import plan_schema, recipe_schema

    makers = {"recipe": recipe_schema, "plan": plan_schema}
    if subject not in makers:
        warn(f"error: no such schema: {subject[:60]!r}; write `recipec schema recipe` or `recipec schema plan`")
        return Exit.USAGE
    say(json.dumps(makers[subject](), indent=2))
    return Exit.FINE


def doctor(output: Format) -> int:
    """Check this machine."""
    from compiler.doctor import examine, render_checks

    checks = examine()
    say(render_checks(checks, "json" if output is Format.JSON else "text", color=color_of(sys.stdout)).rstrip())
    return Exit.FAILED if any(check.status == "fail" for check in checks) else Exit.FINE
