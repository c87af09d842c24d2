"""The experiment's own arithmetic: mixes that are what they are named, and the table's means, spreads and differences."""

from __future__ import annotations

import pytest

from benchmarks.domain_upsampling import BASE, MIXES, mixture, table
from compiler.pipeline import compile_recipe


def drawn(mix: str) -> dict[str, int]:
    """Tokens of each source in the plan of a mix."""
    overrides = (
        f"data.mixture={mixture(MIXES[mix])}",
        "tokenizer={vocab_size: 2048}",
        "data.sources.french.files=french/*.txt",
    )
    plan = compile_recipe(BASE, overrides).expect()
    return {
        name: sum(phase.sources[name].tokens for phase in plan.data.phases if name in phase.sources)
        for name in plan.data.sources
    }


def test_the_mixes_differ_as_they_say() -> None:
    """All draw the same tokens; two draw as much French, one of them late; code and prose keep their proportion."""
    mixes = {mix: drawn(mix) for mix in MIXES}
    assert len({sum(tokens.values()) for tokens in mixes.values()}) == 1
    total = sum(mixes["constant"].values())
    assert mixes["constant"]["french"] / total == pytest.approx(0.07, abs=1e-3)
    assert mixes["upsampled"]["french"] / total == pytest.approx(0.126, abs=1e-3)
    assert abs(mixes["upsampled"]["french"] - mixes["same exposure"]["french"]) <= 10 * 128
    for tokens in mixes.values():
        assert tokens["code"] / tokens["prose"] == pytest.approx(0.68 / 0.32, rel=5e-3)


def test_the_table_pairs_seeds() -> None:
    """Differences are taken seed by seed, so that what a seed does to both mixes leaves them."""
    measured = {"a": [{"x": 1.0}, {"x": 3.0}], "b": [{"x": 1.5}, {"x": 3.5}]}
    assert table(measured).splitlines() == [
        "| mix | x |",
        "| --- | --- |",
        "| a | 2.0000 ± 1.4142 |",
        "| b | 2.5000 ± 1.4142 |",
        "| b minus a | +0.5000 ± 0.0000 |",
    ]
