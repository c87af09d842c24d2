"""What pruning is made of: which layers, which weights go, masks that hold, and channels and heads that are taken out."""
