"""`recipec plan --trace`: a training step of the plan on fake tensors, whose memory is counted; no GPU, no data."""
