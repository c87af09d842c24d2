"""Claims of speed and memory: one command each, a table printed, ratios measured side by side in one run."""
