"""Calibration of the estimates on published runs: data, fits, held-out errors."""
