"""Models: built from a plan, read from a folder or an earlier run, called on a batch, and written as files."""
