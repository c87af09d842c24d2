"""What a recipe says of the machines: which, how many, at what price, and how jobs are started there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text, short_for
from schemas.units import Bandwidth, Bytes, CarbonIntensity, FlopRate, GpuHourPrice, Seconds, Watts

__all__ = ["Gpu", "Hardware", "Launch", "Peak", "Slurm"]


class Peak(Frozen):
    """Dense peaks of a device, as its data sheet prints them (without sparsity); a format that is missing can't be used."""

    fp32: FlopRate | None = Field(None, gt=0, le=1e20, description="Vector units in fp32.", examples=["67TFLOP/s"])
    bf16: FlopRate | None = Field(None, gt=0, le=1e20, description="Tensor cores in bf16.", examples=["989TFLOP/s"])
    fp16: FlopRate | None = Field(None, gt=0, le=1e20, description="Tensor cores in fp16.", examples=["989TFLOP/s"])
    fp8: FlopRate | None = Field(None, gt=0, le=1e20, description="Tensor cores in fp8.", examples=["1979TFLOP/s"])


class Gpu(Frozen):
    """A device of the catalogue by its name, some of its figures changed, or one that is your own.

    `gpu: h100-sxm-80gb` is short for `{name: h100-sxm-80gb}`. A name that the catalogue doesn't have needs `memory`,
    `bandwidth` and `peak`.
    """

    name: Name = Field(
        "cpu",
        description="Device of the catalogue, `cpu` for none, or a name of your own.",
        examples=["h100-sxm-80gb"],
    )
    memory: Bytes | None = Field(
        None, ge=10**8, le=10**14, description="Memory of one device (a card sold as 80 GB has 80GiB)."
    )
    bandwidth: Bandwidth | None = Field(
        None, gt=0, le=1e16, description="Bandwidth of that memory.", examples=["3.35TB/s"]
    )
    peak: Peak = Field(Peak(), description="Dense peaks per number format.", examples=[{"bf16": "312TFLOP/s"}])
    link: Bandwidth | None = Field(
        None,
        gt=0,
        le=1e16,
        description="To the other devices of its machine, one direction; own device: 16GB/s, as PCIe 4.",
        examples=["450GB/s"],
    )
    tdp: Watts | None = Field(
        None, gt=0, le=1e5, description="Board power; own device: 400W, as an A100.", examples=["700W"]
    )


class Hardware(Frozen):
    """Devices to train on, what they cost, and how often they fail."""

    gpu: Annotated[Gpu, short_for("name")] = Field(
        Gpu(),
        description="Device of the catalogue, such as h100-sxm-80gb, or your own with its figures; `cpu` for none.",
    )
    count: Integer = Field(1, ge=1, le=1_000_000, description="Devices in all (on `cpu`: processes).")
    per_node: Integer | None = Field(
        None, ge=1, le=1024, description="Devices of one machine; default: the catalogue's."
    )
    price: GpuHourPrice | None = Field(None, ge=0, description="Your price; default: the catalogue's, with its date.")
    mfu: Fraction | None = Field(None, gt=0, description="Your measured model FLOP utilization; default: an estimate.")
    calibration: Text | None = Field(
        None,
        description="File that `recipec calibrate` wrote of your own cluster, relative to the recipe.",
        examples=["cluster.json"],
    )
    network: Bandwidth | None = Field(
        None,
        gt=0,
        le=1e16,
        description="Between machines, per device and direction; default: the catalogue's, own device: 25Gb/s.",
        examples=["400Gb/s"],
    )
    mtbf: Seconds | None = Field(
        None,
        gt=0,
        le=1e10,
        description="Mean time between failures of one machine; default: 50,700 hours per GPU (Llama 3's report).",
        examples=["6300h"],
    )
    pue: Float = Field(
        1.1, ge=1, le=5, description="Power of the site per power of its machines; 1.1 as in LLaMA's report."
    )
    grid: CarbonIntensity = Field(
        473.0, le=5000, description="CO2 equivalents of electricity; default: 473g/kWh, the world of 2024 (Ember 2025)."
    )

    @model_validator(mode="after")
    def _one_measure(self) -> Hardware:
        if self.mfu is not None and self.calibration is not None:
            raise PydanticCustomError(
                "conflict",
                "`mfu` and `calibration` both say how fast the cluster is",
                {"first": "mfu", "key": "calibration", "fix": ""},
            )
        return self


class Slurm(Frozen):
    """Lines of the batch script for Slurm."""

    partition: Name | None = Field(None, description="--partition")
    account: Name | None = Field(None, description="--account")
    qos: Name | None = Field(None, description="--qos")
    time: Seconds | None = Field(None, gt=0, description="--time; default: twice the estimate.")


class Scoring(Frozen):
    """Where documents are scored for a curriculum."""

    engine: Literal["local", "datatrove", "slurm"] = Field(
        "local",
        description="local: processes of this machine; slurm: an array of jobs, with the lines of `launch.slurm`; datatrove: the "
        "same tasks on this machine. The last two need the package datatrove.",
    )
    tasks: Integer | None = Field(
        None, ge=1, le=100_000, description="Processes, or jobs of the array; default: one a core of this machine."
    )


class Launch(Frozen):
    """Where and how the job runs. Nothing here changes the result, nor the fingerprint."""

    workers: Integer = Field(0, ge=0, le=256, description="Data loader processes per device.")
    cache: Text | None = Field(
        None, description="Folder for prepared data and copies of remote shards; default: runs/cache."
    )
    cache_limit: Bytes | None = Field(
        None,
        gt=0,
        description="Disk on each machine for copies of remote shards: those read longest ago make room. Default: all stay.",
    )
    slurm: Slurm = Field(Slurm(), description="Lines of launch/slurm.sbatch.")
    scoring: Annotated[Scoring, short_for("engine")] = Field(
        Scoring(), description="Where documents are scored for a curriculum; changes no score."
    )
    threads: Integer | None = Field(
        None, ge=1, le=1024, description="OMP_NUM_THREADS of each process; default: torch's."
    )
    offline: bool = Field(False, strict=True, description="Never ask the Hugging Face hub (HF_HUB_OFFLINE=1).")
    kind: Literal["torchrun"] = Field("torchrun", description="How several processes are started.")

    @model_validator(mode="after")
    def _slurm_has_a_partition(self) -> Launch:
        if self.scoring.engine == "slurm" and self.slurm.partition is None:
            raise PydanticCustomError(
                "conflict",
                "jobs that score need a partition of the cluster",
                {"fix": "slurm: {partition: cpu}"},
            )
        return self
