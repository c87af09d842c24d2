"""Seconds of one optimizer step, part by part: physics, calibrated rates, and the interval that they have earned."""
