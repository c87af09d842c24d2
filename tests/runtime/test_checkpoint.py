"""Checkpoints: whole or not there, checked, never unpickled, and what happens when one is damaged or the disk is full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime import checkpoint
from runtime.checkpoint import Progress
from runtime.errors import Refused
from runtime.files import hash_file
from schemas.plan import RunPlan
from tests.runtime.training_case import plan_of

PLAN = plan_of()


def progress(step: int) -> Progress:
    """Books after a step."""
    return Progress(step, step * 512, step * 512, 1.5, 6.25, 0.1 + 0.2, {"code": step * 6, "prose": step * 2})


def state(value: float = 1.0) -> dict[str, Any]:
    """The smallest state that counts as one."""
    return {"state": {"model": {"weight": torch.full((4,), value)}, "algorithms": []}, "rng": []}


def save(folder: Path, step: int, plan: RunPlan = PLAN) -> Path:
    """A checkpoint whose weights say its step."""
    return checkpoint.save(folder, plan, state(step), progress(step), world_size=1)


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    """Tensors, and numbers to the last bit; a folder without checkpoints has none."""
    assert checkpoint.latest(tmp_path, PLAN) is None
    save(tmp_path, 4)
    found = checkpoint.latest(tmp_path, PLAN)
    assert found is not None
    assert found.progress == progress(4)
    assert torch.equal(checkpoint.final_weights(found)["weight"], torch.full((4,), 4.0))


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    """Older ones go only after a newer one is whole."""
    for step in (4, 8, 100_000_0):
        save(tmp_path, step)
    checkpoint.prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ba00000008", "ba01000000"]


def cut_short(path: Path) -> None:
    """A state file that lost its end."""
    file = path / checkpoint.STATE
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    """A state file of the right size with another byte."""
    file = path / checkpoint.STATE
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def lose_the_manifest(path: Path) -> None:
    """A folder without a word of what it holds."""
    (path / checkpoint.MANIFEST).unlink()


def garble_the_manifest(path: Path) -> None:
    """A manifest that is JSON, but not one."""
    (path / checkpoint.MANIFEST).write_text('{"format": 1, "files": []}')


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, lose_the_manifest, garble_the_manifest])
def test_a_damaged_one_is_set_aside_and_the_one_before_is_used(
    tmp_path: Path, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user is told which, why, and where it is now; the same damage is not met again."""
    save(tmp_path, 4)
    damage(save(tmp_path, 8))
    found = checkpoint.latest(tmp_path, PLAN)
    assert found is not None
    assert found.progress.step == 4
    assert "warning[RC603]: the checkpoint ba00000008 is damaged" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ba00000004", "damaged-ba00000008-0"]
    checkpoint.latest(tmp_path, PLAN)
    assert capsys.readouterr().out == ""


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    """Neither used nor set aside: it is whole, and somebody's."""
    save(tmp_path, 4)
    with pytest.raises(Refused, match="another model, batch, data or seed") as caught:
        checkpoint.latest(tmp_path, PLAN.model_copy(update={"resume_key": "2" * 64}))
    assert caught.value.code == "RC602"
    assert (tmp_path / "ba00000004").is_dir()


class Malicious:
    """Pickle that would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.target}",))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An attacker who can also write the manifest gets no further than a warning."""
    save(tmp_path, 4)
    path, target = save(tmp_path, 8), tmp_path / "owned"
    evil = {**state(), "extra": Malicious(target)}
    torch.save(evil, path / checkpoint.STATE)
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    file = path / checkpoint.STATE
    manifest["files"][checkpoint.STATE] = {"bytes": file.stat().st_size, "sha256": hash_file(file)}
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    found = checkpoint.latest(tmp_path, PLAN)
    assert found is not None
    assert found.progress.step == 4
    assert "more than tensors and plain values" in capsys.readouterr().out
    assert not target.exists()
    torch.load(next(tmp_path.glob("damaged-*")) / checkpoint.STATE, weights_only=False)
    assert target.exists(), "the file above was no attack, so the test proves nothing"


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from runtime import checkpoint
from runtime.errors import RunFailed
from tests.runtime.test_checkpoint import PLAN, progress, save, state

folder = Path(sys.argv[1])
save(folder, 4)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
big = state()
big["state"]["model"]["weight"] = torch.zeros(100_000)
try:
    checkpoint.save(folder, PLAN, big, progress(8), world_size=1)
except RunFailed as error:
    print(error.code, error.message)
"""


def test_a_full_disk_loses_nothing_that_was_whole(tmp_path: Path) -> None:
    """A file that can't grow any further (a real limit of the system) ends in RC604; the checkpoint before it stays."""
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert run.stdout.startswith("RC604 the disk of"), run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ba00000004"]
    assert checkpoint.latest(tmp_path, PLAN) is not None


def test_averaged_weights_win_once_there_are_any(tmp_path: Path) -> None:
    """final_weights are the moving average's; before averaging has begun, those of the last step."""
    for average, expected in ((None, 1.0), ({"weight": torch.full((4,), 9.0)}, 9.0)):
        saved = state()
        saved["state"]["algorithms"] = [("AveragedWeights", {checkpoint.EMA_STATE: average})]
        folder = tmp_path / str(expected)
        checkpoint.save(folder, PLAN, saved, progress(4), world_size=1)
        found = checkpoint.latest(folder, PLAN)
        assert found is not None
        assert checkpoint.final_weights(found)["weight"][0].item() == expected


def test_only_a_whole_one_is_adopted(tmp_path: Path) -> None:
    """`--resume-from` takes the newest whose files are what its manifest says, and touches no damaged one."""
    assert checkpoint.newest_whole(tmp_path) is None
    save(tmp_path, 4)
    newest = save(tmp_path, 8)
    cut_short(newest)
    found = checkpoint.newest_whole(tmp_path)
    assert found is not None
    assert found.name == "ba00000004"
    assert newest.is_dir()
