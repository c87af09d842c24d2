"""Images with labels: found and decoded, prepared as shards, fed to a network, and what it takes them for."""
