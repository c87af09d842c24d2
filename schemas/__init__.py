"""The language: what a recipe may say, what a plan is, and what a finding looks like. Imports nothing else of ours."""
