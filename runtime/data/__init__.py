"""Data on its way into training: documents, splits, packed samples, MDS shards, and the order they are drawn in."""
