"""One pass a file: each fills one section of the draft. Their order is `compiler.pipeline.PASSES`."""
