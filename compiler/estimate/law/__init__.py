"""Scaling laws: their constants and fits, and the cheapest model and data for a loss, a demand or a sum of money."""
