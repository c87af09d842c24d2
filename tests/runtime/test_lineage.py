"""Earlier runs as starts and teachers: what is said when one has no weights (any more)."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import RunFailed
from runtime.lineage import trained_key, untrained
from runtime.models.planned import load_trained
from tests.runtime.plans import layout_of, sealed_plan
from tests.runtime.sequence_case import run_of, sequence


def test_a_run_without_checkpoints_names_the_command_that_trains_it(tmp_path: Path) -> None:
    """Its own name in a sequence, of which the run that failed is another; all steps where it is one alone."""
    plan = sealed_plan()
    with pytest.raises(RunFailed, match="there is no checkpoint in") as caught:
        load_trained(plan, layout_of(plan, tmp_path))
    assert caught.value.code == "RC606"
    assert caught.value.remedy == "train it first: --steps all"
    plan = sequence(run_of("first"), run_of("second", after="first"))
    first = plan.earlier[0]
    error = untrained(first, layout_of(first, tmp_path))
    assert error.remedy == "train it first: --run first --steps all (or no --run, for all runs in order)"
    assert str(layout_of(first, tmp_path).checkpoints) in error.message


def test_a_run_that_was_never_trained_is_named(tmp_path: Path) -> None:
    """By the run that needs its weights."""
    plan = sequence(run_of("first"), run_of("second", after="first"))
    with pytest.raises(RunFailed, match="the run `second` needs the run `first`") as caught:
        trained_key("first", plan, layout_of(plan, tmp_path))
    assert "--run first" in caught.value.remedy
