"""What the commands do, as functions that return an exit code."""
