"""Bytes that one device needs at its fullest instant, part by part."""
