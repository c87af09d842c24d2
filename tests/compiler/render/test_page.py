"""`plan --html`: one page that loads nothing, that no recipe can write into, the same bytes each time."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from compiler.budgeting.silence import SILENT
from compiler.cli import app
from compiler.frontend.spans import SpanIndex
from compiler.pipeline import Compiled
from compiler.render.charts import COLOURS
from compiler.render.page import render_page
from schemas.diagnostics import Diagnostic, Severity, Span
from schemas.plan import RunPlan
from tests.compiler.seen_plan import seen_plan
from tests.factory import tiny_plan
from tests.recipes import GALLERY, MINIMAL

VOID: Final = {"meta", "input", "col", "br", "link", "img"}


class Page(HTMLParser):
    """A page taken apart: tags, attributes, text, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join(" ".join(self.words).split())

    def values(self, name: str) -> list[str]:
        """Values of an attribute."""
        return [value for _, attribute, value in self.attributes if attribute == name]


def page_of(plan: RunPlan, *findings: Diagnostic, spans: SpanIndex | None = None) -> str:
    """The page of a plan made by hand."""
    return render_page(Compiled(plan, findings, spans or SpanIndex()))


def test_the_page_is_whole() -> None:
    """Every tag is closed, every link leads somewhere, ids are unique, all parts are there."""
    page = Page(page_of(seen_plan()))
    ids, links = page.values("id"), page.values("href")

    assert page.open == []
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert {"choice", "machine", "money", "data", "settings", "origins"} <= set(ids)
    for words in ("622M", "66.5 GB", "$320", "57B tokens served", "bound by", "Chinchilla", "roofline", "40.8 kg CO₂e"):
        assert words.lower() in page.text.lower(), words


def test_nothing_is_loaded_and_nothing_can_act_but_what_is_hashed() -> None:
    """No address but those inside of the page, no style attribute, no handler; the policy holds the two hashes."""
    text = page_of(seen_plan())
    page = Page(text)

    assert all(value.startswith("#") for value in page.values("href"))
    assert not {"src", "srcset", "style", "action", "background", "poster"} & {name for _, name, _ in page.attributes}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not page.tags.keys() & {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|innerHTML", text)
    (policy,) = [value for value in page.values("content") if "default-src" in value]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{6*7919}}{% raw %}</style>\u202e&amp;"


def test_no_text_of_a_recipe_becomes_markup() -> None:
    """In places, prompts, reasons, lines of the recipe and findings; also not by way of the template's own language."""
    plan = seen_plan(
        data={"sources": {name: {"mds": f"s3://{HOSTILE}"} for name in ("web", "code", "math")}},
        evaluation={"prompts": [HOSTILE]},
        estimate={"method": HOSTILE, "memory_instant": HOSTILE},
        budget={"binding": HOSTILE},
        provenance={
            "evaluation.prompts": {"origin": "recipe", "where": f"{HOSTILE}.yaml:1:1", "reason": HOSTILE},
            "data.sources": {"origin": "pass", "where": "data", "reason": HOSTILE},
            "estimate": {"origin": "default", "where": HOSTILE, "reason": HOSTILE},
        },
    )
    span = Span(file=f"{HOSTILE}.yaml", line=1, column=1, end_column=2)
    finding = Diagnostic(code="RC401", message=HOSTILE, span=span, help=HOSTILE, severity=Severity.WARNING)
    spans = SpanIndex(texts={f"{HOSTILE}.yaml": (HOSTILE,)})
    text = page_of(plan, finding, spans=spans)
    calm = Diagnostic(code="RC401", message="m", span=span, help="h", severity=Severity.WARNING)
    page, plain = Page(text), Page(page_of(seen_plan(), calm, spans=SpanIndex(texts={span.file: ("line",)})))

    assert page.tags["script"] == 1
    assert page.tags["img"] == 0
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.tags.keys() == plain.tags.keys()
    assert "47514" not in text
    assert page.text.count("<script>alert(1)</script>") >= 5
    assert "\u202e" not in text


def test_the_bytes_are_the_same_twice_and_nothing_of_this_machine_is_in_them() -> None:
    """From another folder, too."""
    from compiler.pipeline import compile_recipe

    recipe = next(path for path in GALLERY if path.stem == "quickstart")
    first, second = (render_page(compile_recipe(recipe)) for _ in range(2))

    assert first == second
    assert str(recipe.parent) not in first
    assert re.search(r"20\d\d-\d\d-\d\dT", first) is None


def test_pictures_have_names_and_numbers_beside_them() -> None:
    """Each chart says what it shows to those who can't see it; its numbers stand in a table."""
    page = Page(page_of(seen_plan()))
    pictures = page.tags["svg"]
    hidden = sum(name == "aria-hidden" for _, name, _ in page.attributes)
    named = sum(tag == "svg" and name == "aria-label" and bool(value) for tag, name, value in page.attributes)

    assert pictures == named + hidden
    assert page.tags["table"] >= 7
    assert page.tags["h1"] == 1
    assert ("html", "lang", "en") in page.attributes


def test_every_value_that_somebody_set_is_listed() -> None:
    """Path, value, who, where and why; the recipe's own line where it was one."""
    spans = SpanIndex(texts={"r.yaml": ("name: seen", "budget: {tokens: 10.5B tok}")})
    page = Page(page_of(seen_plan(), spans=spans))

    assert "budget.tokens 10485760000 recipe r.yaml:2:9 budget: {tokens: 10.5B tok} ; 10000 steps" in page.text
    assert "seed 17 default seed Fixes initial weights." in page.text
    link = next(v for tag, name, v in page.attributes if tag == "a" and name == "title" and "a roofline" in v)
    assert link == "decided by the pass estimate: a roofline"


def test_curves_pass_through_the_choice() -> None:
    """The disc of this plan lies on the curve of its loss, and the cheapest model of the curve is the optimum's."""
    from compiler.render.curves import iso_loss, life_curve

    free = seen_plan(budget={"unique_tokens": None})
    n, d = min(iso_loss(free), key=lambda point: abs(point[0] - 622e6))
    assert d == pytest.approx(free.budget.tokens, rel=0.03)
    assert n == pytest.approx(622e6, rel=0.02)
    # Sardana et al., eq. 3, solved by the compiler's own bracketed root
    from compiler.estimate.law.optimum import Market
    from compiler.estimate.law.scaling_law import LAWS

    best = Market(LAWS["besiroglu"], 57e9).best("loss", free.promise.loss)
    cheapest = min(life_curve(free), key=lambda sample: sample.life.flops)
    assert cheapest.parameters == pytest.approx(best.parameters, rel=0.03)


def test_thirty_sources_in_twelve_phases_share_the_colours() -> None:
    """Only so many colours can be told apart: the rest is grey, and each number stands in the table."""
    names = [f"source-{index:02}" for index in range(30)]
    tokens, phases = seen_plan().budget.tokens // 12 // 2048 * 2048, []
    for phase in range(12):
        start = tokens * phase
        end = seen_plan().budget.tokens if phase == 11 else tokens * (phase + 1)
        samples = (end - start) // 2048
        shares = {name: {"samples": samples // 30, "tokens": samples // 30 * 2048} for name in names[1:]}
        rest = samples - samples // 30 * 29
        shares[names[0]] = {"samples": rest, "tokens": rest * 2048}
        phases.append({"id": f"phase{phase}", "start_token": start, "end_token": end, "sources": shares})
    plan = seen_plan(data={"sources": {name: {"mds": f"s3://{name}"} for name in names}, "phases": phases})
    text = page_of(plan)

    assert "23 other sources" in text
    assert all(f'<th scope="row" title="mds: s3://{name}">' in text for name in names)
    assert f'c{COLOURS - 1}" x="' not in text.split('id="data"')[1]
    assert len(text) < 600_000


def test_a_law_without_words_has_no_charts() -> None:
    """Where it promises less than guessing, a curve would lie."""
    page = Page(page_of(seen_plan(budget=dict.fromkeys(SILENT))))

    assert "choice" not in page.values("id")
    assert "the law says nothing of this size" in page.text
    assert page_of(tiny_plan()) != ""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A minimal recipe in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(MINIMAL, encoding="utf-8")
    return tmp_path / "r.yaml"


def test_the_command_writes_the_page_beside_its_usual_answer(recipe: Path) -> None:
    """The screen on stdout as ever; where the page went is said on stderr."""
    plain = CliRunner().invoke(app, ["plan", "r.yaml"])
    result = CliRunner().invoke(app, ["plan", "r.yaml", "--html", "page.html"])

    assert result.exit_code == 0
    assert result.stdout == plain.stdout
    assert result.stderr == "page: page.html\n"
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_recipe_with_errors_or_a_folder_in_the_way_write_nothing(recipe: Path) -> None:
    """The page that was there stays."""
    Path("page.html").write_text("old")
    Path("folder").mkdir()
    wrong = CliRunner().invoke(app, ["plan", "r.yaml", "--set", "seed=-1", "--html", "page.html"])
    folder = CliRunner().invoke(app, ["plan", "r.yaml", "--html", "folder"])

    assert (wrong.exit_code, folder.exit_code) == (1, 3)
    assert Path("page.html").read_text() == "old"
    assert "RC604" in folder.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["folder", "page.html", "r.yaml"]
