"""A plan as files: the job folder that is written, and plans that are read back."""
