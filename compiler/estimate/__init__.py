"""Closed forms for what a run needs: loss, dimensions, memory, speed. No torch; tests compare with built models."""
