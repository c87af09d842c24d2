"""Getting shards: from a store or a folder, whole, checked, once, kept within a limit, or an error that says why not."""
