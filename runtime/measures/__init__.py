"""Measures of a model on held-out samples: loss and texts, labels, and what was forgotten."""
