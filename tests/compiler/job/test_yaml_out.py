"""compiler.job.yaml_out: every reader gets back what was written, and the bytes are fixed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from compiler.job.yaml_out import dump, one_line

_TEXT = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    [
        "",
        "yes",
        "No",
        "null",
        "~",
        "1e9",
        "0x10",
        "12:30",
        "2026-01-01",
        "- a",
        "a: b",
        "#",
        " a",
        "a ",
        "s3://b/c",
        "=",
        "<<",
        "\x85",
    ]
)
_SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
_VALUE = st.recursive(
    _SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4), max_leaves=20
)
_MAPPING = st.dictionaries(_TEXT, _VALUE, max_size=5)


@settings(max_examples=300, deadline=None)
@given(_MAPPING)
def test_ruamel_reads_back_the_value(value: dict[str, Any]) -> None:
    """A YAML 1.2 reader gets the value back, floats to the last bit."""
    read = YAML(typ="safe", pure=True).load(dump(value))
    assert value == read
    assert repr(value) == repr(read)


@settings(max_examples=300, deadline=None)
@given(_MAPPING)
def test_pyyaml_reads_back_the_value(value: dict[str, Any]) -> None:
    """A YAML 1.1 reader gets the same: nothing is taken for a boolean, a date or a number of base 60."""
    yaml = pytest.importorskip("yaml")
    assert repr(value) == repr(yaml.safe_load(dump(value)))


def test_layout_is_pinned() -> None:
    """Sections are blocks, short values below them stand on one line; a change here changes every plan's bytes."""
    value: dict[str, Any] = {
        "name": "tiny",
        "training": {"lr": 3e-05, "betas": (0.9, 0.95), "nothing": None, "on": True, "empty": [], "none": {}},
        "phases": [{"id": "a", "sources": {"x" * 60: {"samples": 1}, "y" * 60: {"samples": 2}}}, {"id": "b"}],
        "provenance": {"training.lr": {"origin": "pass", "where": "optimizer", "reason": "long " * 30}},
    }
    assert dump(value) == (
        "name: tiny\n"
        "training:\n"
        "  lr: 3.0e-05\n"
        "  betas: [0.9, 0.95]\n"
        "  nothing: null\n"
        '  "on": true\n'
        "  empty: []\n"
        "  none: {}\n"
        "phases:\n"
        "  - id: a\n"
        "    sources:\n"
        f"      {'x' * 60}: {{samples: 1}}\n"
        f"      {'y' * 60}: {{samples: 2}}\n"
        "  - {id: b}\n"
        "provenance:\n"
        f'  training.lr: {{origin: pass, where: optimizer, reason: "{"long " * 30}"}}\n'
    )


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_no_infinities(number: float) -> None:
    """A number that isn't finite is refused where it would be written."""
    with pytest.raises(ValueError, match="no place in a plan"):
        dump({"a": [number]})


def test_too_long_key() -> None:
    """A key that YAML readers couldn't find the end of is refused."""
    with pytest.raises(ValueError, match="too long"):
        dump({"k" * 2000: 1})


def test_one_line() -> None:
    """The flow form, as diffs show it."""
    assert one_line({"kind": "ema", "window": {"start_token": 0}, "text": "a, b"}) == (
        '{kind: ema, window: {start_token: 0}, text: "a, b"}'
    )
