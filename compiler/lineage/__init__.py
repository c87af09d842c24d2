"""Runs that build on others: sequences, trained weights to begin with, teachers, and what is taken over from them."""
