"""Executes a plan: prepare -> tokenizer -> train -> evaluate -> export. Decides nothing, knows no recipe and no compiler."""
