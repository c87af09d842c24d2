"""The order of samples: a pure function of plan and seed, made in bounded windows from the draws of each source so far."""
