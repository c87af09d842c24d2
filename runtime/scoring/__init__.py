"""Scores of documents: how hard or how dense a text is. One file a family of metrics, `registry` lists them all."""
