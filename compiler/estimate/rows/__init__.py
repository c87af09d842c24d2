"""Rows of published or own measurements as workloads, and what the estimates say of them."""
