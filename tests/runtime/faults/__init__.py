"""What can go wrong between a shard and a batch: each ends in a retry that works, or an error with the shard's name."""
