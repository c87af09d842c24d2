"""The table of documents: rows as they were added, cut where the last sample ends, readable by numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.data import document_table
from runtime.data.document_table import ROW, DocumentTable, open_table


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.data())
def test_rows_cover_the_tokens_that_are_kept(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], data: st.DataObject
) -> None:
    """Each row is its document's, in order; the last one is cut, what comes after is not there."""
    kept = data.draw(st.integers(1, sum(lengths)))
    path = tmp_path_factory.mktemp("table") / "rows.npy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_table, "_BLOCK_ROWS", data.draw(st.sampled_from([1, 3, 100])))
        with DocumentTable(path) as table:
            for i, tokens in enumerate(lengths):
                table.add(bytes([i, 0, 7]) + bytes(13), tokens)
            table.finish(kept)
    rows = np.array(open_table(path))
    owners = np.repeat(np.arange(len(lengths)), lengths)[:kept]
    assert rows.dtype == ROW
    assert rows["tokens"].sum() == kept
    found = [row[0] for row in rows.view([("digest", "V16"), ("tokens", "<i8")]).tolist()]
    assert [digest[0] for digest in np.repeat(np.array(found, object), rows["tokens"])] == owners.tolist()
    assert all(digest[1:] == b"\0\7" + bytes(13) for digest in found)
    assert np.load(path, allow_pickle=False).shape == rows.shape


def test_many_rows_fit_the_header(tmp_path: Path) -> None:
    """A trillion rows have a header of the same 128 bytes."""
    from runtime.data.document_table import _header

    assert len(_header(0)) == len(_header(10**12)) == 128
