"""What a plan takes: wall-clock by part, and what to change where it takes more than a limit allows."""
