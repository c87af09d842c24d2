"""compiler.job.atomic: one file, whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compiler.job.atomic import write_file
from schemas.diagnostics import DiagnosticsError


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    """UTF-8, line ends as they are, nothing left beside it."""
    file = tmp_path / "page.html"
    write_file(file, "old")
    write_file(file, "né\r\nw")

    assert file.read_bytes() == "né\r\nw".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_link_goes_on_leading_where_it_led(tmp_path: Path) -> None:
    """The file behind it is replaced, not the link."""
    (tmp_path / "real.html").write_text("old")
    (tmp_path / "link.html").symlink_to("real.html")
    write_file(tmp_path / "link.html", "new")

    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "real.html").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "words"), [("", "is a folder"), ("no/page.html", "mkdir -p"), ("pipe", "no regular file")]
)
def test_what_is_in_the_way_stays(name: str, words: str, tmp_path: Path) -> None:
    """A folder, a missing folder, a device: said, never replaced."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DiagnosticsError) as caught:
        write_file(tmp_path / name if name else tmp_path, "text")

    (finding,) = caught.value.diagnostics
    assert finding.code == "RC604"
    assert words in f"{finding.message} {finding.help}"
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no half one beside it."""
    file = tmp_path / "page.html"
    file.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiagnosticsError, match="No space left"):
        write_file(file, "new")

    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
