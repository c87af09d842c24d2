"""What a recipe says of the machines: which, how many, at what price, and how jobs are started there."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Fraction, Frozen, Integer, Name, Text
from schemas.units import GpuHourPrice, Seconds

__all__ = ["Hardware", "Launch", "Slurm"]


class Hardware(Frozen):
    """Devices to train on."""

    gpu: Name = Field(
        "cpu", description="Device of the catalogue, such as h100-sxm-80gb; `cpu` for none.", examples=["h100-sxm-80gb"]
    )
    count: Integer = Field(1, ge=1, le=1_000_000, description="Devices in all (on `cpu`: processes).")
    per_node: Integer | None = Field(
        None, ge=1, le=1024, description="Devices of one machine; default: the catalogue's."
    )
    price: GpuHourPrice | None = Field(None, ge=0, description="Your price; default: the catalogue's, with its date.")
    mfu: Fraction | None = Field(None, gt=0, description="Your measured model FLOP utilization; default: an estimate.")


class Slurm(Frozen):
    """Lines of the batch script for Slurm."""

    partition: Name | None = Field(None, description="--partition")
    account: Name | None = Field(None, description="--account")
    qos: Name | None = Field(None, description="--qos")
    time: Seconds | None = Field(None, gt=0, description="--time; default: twice the estimate.")


class Launch(Frozen):
    """Where and how the job runs. Nothing here changes the result, nor the fingerprint."""

    workers: Integer = Field(0, ge=0, le=256, description="Data loader processes per device.")
    cache: Text | None = Field(
        None, description="Folder for prepared data and copies of remote shards; default: runs/cache."
    )
    slurm: Slurm = Field(Slurm(), description="Lines of launch/slurm.sbatch.")
    threads: Integer | None = Field(
        None, ge=1, le=1024, description="OMP_NUM_THREADS of each process; default: torch's."
    )
    offline: bool = Field(False, strict=True, description="Never ask the Hugging Face hub (HF_HUB_OFFLINE=1).")
    kind: Literal["torchrun"] = Field("torchrun", description="How several processes are started.")
