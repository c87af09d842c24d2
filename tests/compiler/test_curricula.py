"""Curricula in the plan: whose they are, what is decided of them, and findings on their own lines with the line to write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compiler.render.curricula import curricula
from compiler.render.plan import render_plan
from schemas.diagnostics import Diagnostic, Severity
from schemas.plan import RunPlan
from tests.recipes import ROOT, compile_text, plan_text

PAGE = (ROOT / "docs" / "curriculum.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## (.*?)$(?:(?!^## ).)*?```yaml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
BASE = """\
name: base
model: {hidden_size: 64, num_layers: 2, num_heads: 4}
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources: {web: {jsonl: data/web/*.jsonl}, code: {jsonl: data/code/*.jsonl}}
budget: {tokens: 1024k tok}
training: {batch: 1024 tok}
"""


def block(title: str, folder: Path) -> RunPlan:
    """The plan of a section of docs/curriculum.md over the base."""
    (folder / "base.yaml").write_text(BASE, encoding="utf-8")
    return plan_text(f"extends: base.yaml\nname: block\n{BLOCKS[title]}", folder)


def findings(folder: Path, *overrides: str) -> tuple[Diagnostic, ...]:
    """What the compiler says of the base with changes."""
    return compile_text(BASE, folder, *overrides).findings


def test_over_the_mix_all_sources_share_one(tmp_path: Path) -> None:
    """Half of a thousand steps of 1024 tokens; the pacing's power is decided."""
    found = block("Over the mix", tmp_path).data.curricula

    assert found["code"] == found["web"]
    assert (found["web"].scope, found["web"].end_token, found["web"].power, found["web"].start) == (
        "mix", 500 * 1024, 2.0, 0.05
    )  # fmt: skip


def test_a_sources_own_curriculum_wins(tmp_path: Path) -> None:
    """Both have a score step, each by its own metric, and training reads both."""
    plan = block("Of one source", tmp_path)

    assert {name: (c.metric, c.scope) for name, c in plan.data.curricula.items()} == {
        "code": ("length", "mix"), "web": ("mtld", "source"),
    }  # fmt: skip
    train = next(step for step in plan.steps if step.kind == "train")
    assert {"score-code", "score-web"} <= set(train.inputs)
    assert all(source.curriculum is None for source in plan.data.sources.values())


def test_who_set_a_curriculum(tmp_path: Path) -> None:
    """The line of the source or that of the mix, also within a list."""
    plan = block("Of one source", tmp_path)
    lines = {name: plan.provenance[f"data.curricula.{name}"].where for name in ("web", "code")}
    assert [where.split(":")[1] for where in lines.values()] == ["5", "6"]
    listed = block("With a sequence-length warm-up", tmp_path)
    assert listed.provenance["data.curricula.web"].where.split(":")[1:] == ["5", "7"]


def test_a_list_holds_both_kinds(tmp_path: Path) -> None:
    """Difficulty becomes an order, length an algorithm."""
    plan = block("With a sequence-length warm-up", tmp_path)

    assert plan.data.curricula["web"].buckets == 20
    assert [algorithm.kind for algorithm in plan.algorithms] == ["sequence_length_warmup"]


def test_the_control_is_said_as_such(tmp_path: Path) -> None:
    """In the plan's one line too."""
    said = curricula(block("The control", tmp_path))

    assert [one.line for one in said] == [
        "all sources together by mtld, in random order, sqrt from 1 % to all at 512k tokens"
    ]


@pytest.mark.parametrize(
    ("pacing", "words"),
    [
        ("pacing: linear", "linear"),
        ("pacing: root", "root of 3"),
        ("pacing: exponential", "8 stages of 1.9 ×"),
        ("pacing: two_stage", "two stages"),
        ("pacing: step", "4 steps"),
    ],
)
def test_the_plan_says_each_pacing_in_words(pacing: str, words: str, tmp_path: Path) -> None:
    """Beside the data, on the screen."""
    plan = plan_text(BASE, tmp_path, f"data.sources.web.curriculum={{by: hdd, {pacing}}}")

    assert f"web by hdd, easy to hard · {words} from 1 % to all at 512k tokens" in render_plan(plan)


@pytest.mark.parametrize(
    ("said", "code", "path", "help_"),
    [
        ("data.curriculum={by: mtld, duration: 0ba}", "RC415", "data.curriculum.duration", "duration: 0.5dur"),
        ("data.curriculum={by: mtld, duration: 1001ba}", "RC415", "data.curriculum.duration", "duration: 0.5dur"),
        ("data.curriculum=[{by: mtld, duration: 2e9tok}]", "RC415", "data.curriculum[0].duration", "duration: 0.5dur"),
        ("data.curriculum={by: mtld, duration: 1ep}", "RC410", "data.curriculum.duration", ""),
        ("data.curriculum=[{by: mtld, duration: 1ep}]", "RC410", "data.curriculum[0].duration", ""),
        (
            "data.sources.web.curriculum={by: mtld, duration: 1ep}", "RC410",
            "data.sources.web.curriculum.duration", "",
        ),
        ("data.curriculum=[{by: mtld}, {by: hdd}]", "RC201", "data.curriculum[1]", ""),
        (
            "data.curriculum=[{by: mtld}, {kind: sequence_length_warmup, start_length: 256}]", "RC203",
            "data.curriculum[1].start_length", "start_length: 16",
        ),
        (
            "data.curriculum=[{kind: sequence_length_warmup, duration: 9999ba}]", "RC203",
            "data.curriculum[0].duration", "duration: 0.5dur",
        ),
        (
            "data.curriculum={kind: sequence_length_warmup, truncate: false, step_size: 7}", "RC203",
            "data.curriculum.step_size", "step_size: 8",
        ),
        (
            "data.curriculum=[{kind: sequence_length_warmup}, {kind: sequence_length_warmup}]", "RC202",
            "data.curriculum[1]", "remove one of the two",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error_on_its_line(said: str, code: str, path: str, help_: str, tmp_path: Path) -> None:
    """Once, however many sources share the curriculum; in both homes and both forms."""
    found = findings(tmp_path, said)

    assert [(f.code, f.path, f.severity) for f in found] == [(code, path, Severity.ERROR)]
    assert found[0].span is not None
    assert help_ in found[0].help
    if help_.startswith(path.rsplit(".", 1)[-1]):
        assert not findings(tmp_path, said, f"{path}={help_.partition(': ')[2]}")


def test_a_time_in_epochs_is_known_where_sources_say_their_size(tmp_path: Path) -> None:
    """An epoch of 256k tokens is 250 steps of 1024."""
    sizes = "data.sources.web.tokens=128k", "data.sources.code.tokens=128k"
    plan = plan_text(BASE, tmp_path, *sizes, "data.curriculum={by: length, duration: 1ep}")

    assert plan.data.curricula["web"].end_token == 250 * 1024


def test_a_pool_that_runs_dry_is_foretold(tmp_path: Path) -> None:
    """Two stages let 20 % of 1M in, and 512 tokens are drawn a step: all of it is read by step 200,000 / 512 = 390."""
    curriculum = "data.sources.web.curriculum={by: mtld, pacing: two_stage, start: 0.2, duration: 0.8dur}"
    settings = ("data.sources.web.tokens=1M", "evaluation.holdout=0", curriculum)
    (found,) = findings(tmp_path, *settings)

    assert (found.code, found.path, found.severity) == (
        "RC415", "data.sources.web.curriculum.duration", Severity.WARNING
    )  # fmt: skip
    said = re.search(r"from step (\d+) on", found.message)
    assert said is not None
    assert 390 <= int(said[1]) <= 390 + 1000 // 256 + 1
    mended = f"data.sources.web.curriculum.duration={found.help.partition(': ')[2]}"
    assert not findings(tmp_path, *settings, mended)


@pytest.mark.parametrize("pacing", ["linear", "sqrt", "root", "step"])
def test_a_source_read_once_by_the_end_does_not_run_dry(pacing: str, tmp_path: Path) -> None:
    """These pacings let in at least what an even reading takes, but for stairs, which wait."""
    said = f"data.sources.web.curriculum={{by: mtld, pacing: {pacing}, start: 0.01, duration: 0.5dur}}"
    found = findings(tmp_path, "data.sources.web.tokens=256k", "evaluation.holdout=0", said)

    assert [f.code for f in found] == (["RC415"] if pacing == "step" else [])


def test_shards_far_away_are_needed_all_at_once(tmp_path: Path) -> None:
    """Ready-made remote ones; what is prepared here is here."""
    far, near, text = (
        f"data.sources.code={{mds: {place}}}" for place in ("s3://a/b", "/data/b", "s3://a/b, content: text")
    )
    order = "data.sources.code.curriculum={by: mtld}"

    assert [(f.code, f.severity) for f in findings(tmp_path, far, order)] == [("RC415", Severity.WARNING)]
    assert not findings(tmp_path, near, order)
    assert not findings(tmp_path, text, order)
    assert not findings(tmp_path, far)


def test_a_shared_curriculum_that_nobody_follows_is_said(tmp_path: Path) -> None:
    """Each source has its own."""
    own = (f"data.sources.{name}.curriculum={{by: mtld}}" for name in ("web", "code"))
    found = findings(tmp_path, *own, "data.curriculum={by: length}")

    assert [(f.code, f.path, f.severity) for f in found] == [("RC415", "data.curriculum", Severity.WARNING)]
