"""What observes a run: they count, log, show and save, and change nothing of its result."""
