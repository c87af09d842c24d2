"""Executes a plan: tokenizer -> prepare -> score -> train -> evaluate -> export. Decides nothing, knows no recipe or compiler."""
