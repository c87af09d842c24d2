"""Sections of the plan that forecast: devices and prices, what the run will take, and what techniques add to it.

What they decided (model, steps, layout) stands in the other sections; schemas/fingerprint.py says which of this counts.
"""

from __future__ import annotations

from pydantic import Field

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text
from schemas.sections.budget import ChoicePlan

__all__ = ["Estimate", "Exposure", "HardwarePlan", "SequenceTotals", "ShippedPlan", "Taught", "TechniqueCost"]


class HardwarePlan(Frozen):
    """Devices, with the figures that the estimate used: bytes, bytes per second and device, watts, dollars, hours."""

    gpu: Name
    count: Integer
    per_node: Integer
    memory_bytes: Integer
    memory_bandwidth: Float
    peak_flops: Float = Field(description="Dense peak of the format that the run computes in, FLOP/s.")
    link_bandwidth: Float = Field(description="To other devices of the machine, one direction.")
    link_devices: Integer
    network_bandwidth: Float = Field(description="Between machines, one direction.")
    tdp_watts: Float
    usd_per_gpu_hour: Float
    usd_per_gpu_hour_low: Float
    usd_per_gpu_hour_high: Float
    price_source: Text
    mtbf_hours: Float = Field(description="Mean time between failures of one machine.")
    pue: Float
    co2e_kg_per_kwh: Float


class Exposure(Frozen):
    """What the run draws of one source."""

    tokens: Integer
    share: Float = Field(description="Of all tokens of the run.")
    epochs: Float | None = Field(
        description="Times its unique tokens, without held-out ones, are drawn; null where the recipe doesn't say `tokens`."
    )
    read_up_token: Integer | None = Field(
        description="Token of the run by which each of its samples has been drawn once; null if never, or not known."
    )


class Estimate(Frozen):
    """What it will take, before anything runs; `low` and `high` bound what the method has earned.

    `hours` is wall-clock from the first command to the exported model, the sum of `time_parts`; `usd` is for the hours in
    which devices are held, the sum of `usd_parts`.
    """

    tokens_per_s_per_gpu: Float
    tokens_per_s_per_gpu_low: Float
    tokens_per_s_per_gpu_high: Float
    mfu: Float
    peak_memory_bytes: Integer
    peak_memory_bytes_low: Integer
    peak_memory_bytes_high: Integer
    memory_limit_bytes: Integer = Field(description="What a plan may fill of a device's memory.")
    memory_parts: dict[Name, Integer] = Field(
        description="Bytes of each part at the fullest instant; they sum to the peak."
    )
    memory_instant: Text = Field(description="When the peak occurs.")
    step_parts: dict[Name, Float] = Field(description="Seconds of one optimizer step; they sum to its length.")
    time_parts: dict[Name, Float] = Field(
        description="Seconds of startup, prepare, training, evaluation, checkpoints and restarts."
    )
    hours: Float
    hours_low: Float
    hours_high: Float
    usd_parts: dict[Name, Float] = Field(description="Dollars of the same parts.")
    usd: Float
    usd_low: Float
    usd_high: Float
    energy_kwh: Float
    co2e_kg: Float
    inference_usd: Float = Field(description="Of the budget's demand, over the model's life.")
    lifetime_usd: Float = Field(description="Training and inference.")
    exposure: dict[Name, Exposure] = Field(description="What the run draws of each source.")
    method: Text


class Taught(Frozen):
    """What it takes that earlier runs teach a run (Liu et al. 2023, arXiv 2303.06480), beside learning without them."""

    run: Name
    teachers: tuple[Name, ...]
    teacher_parameters: Integer = Field(description="N_T, of all of them that run in a step.")
    duty: Fraction = Field(description="Share of the steps in which they run.")
    overhead: Float = Field(description="Their FLOPs as a share of the run's own: duty N_T / (3 N).")
    break_even: Fraction = Field(
        description="Share of its steps that the run must save by being taught: overhead / (1 + overhead)."
    )


class SequenceTotals(Frozen):
    """What all runs of a sequence take together; `low` and `high` are sums of the runs' own."""

    runs: Integer
    tokens: Integer
    train_flops: Float
    hours: Float = Field(description="One run after the other.")
    hours_low: Float
    hours_high: Float
    usd: Float
    usd_low: Float
    usd_high: Float
    energy_kwh: Float
    co2e_kg: Float
    inference_usd: Float = Field(description="Of the last run's model, which is the one that serves.")
    lifetime_usd: Float = Field(description="Training of all runs, and inference of the last.")
    max_cost_usd: Float | None = Field(description="Caps of the recipe's top level, which hold for all runs together.")
    max_seconds: Float | None
    taught: tuple[Taught, ...] = Field(description="Runs that learn from earlier ones.")


class TechniqueCost(Frozen):
    """What a technique adds to the run: the estimate with all techniques less the one without this, in the same layout.

    Rows sum to what all techniques together add to the run without any: where there are several, `interaction` is the rest.
    Negative numbers are saved.
    """

    kind: Text
    train_flops: Float = Field(description="Over all tokens of the run.")
    once_flops: Float = Field(description="Before training, such as for a teacher's logits that are kept.")
    memory_bytes: Integer = Field(description="Of one device's peak.")
    hours: Float
    usd: Float


class ShippedPlan(Frozen):
    """The model as it leaves the run beside the one that was trained, and what that saves where it is served.

    Reading a prompt is bound by FLOPs, which fall with the parameters; writing is bound by reading the weights, whose bytes fall
    with their bits too (Pope et al. 2022, arXiv 2211.05102). Single zeros save neither without special kernels.
    """

    num_parameters: Integer
    nonzero: Fraction = Field(description="Share of the weights that aren't zero.")
    bits_per_weight: Float = Field(description="Scales included, averaged over the model.")
    bytes: Integer
    dense_bytes: Integer = Field(description="Of the trained model in the number format of the export.")
    inference_flops_per_token: Float = Field(description="2 N.")
    dense_inference_flops_per_token: Float
    inference_usd: Float = Field(description="Of the budget's demand.")
    dense_inference_usd: Float
    written_share: Float = Field(
        description="Bytes read for a written token, of those of the trained model in the serving format."
    )
    optimum: ChoicePlan | None = Field(
        description="The model that would be trained if this form of it is served; null without a demand."
    )
    dense_optimum: ChoicePlan | None = Field(description="The same for the trained model as it is.")
