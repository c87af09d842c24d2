"""Sections of a plan, by what they are about; `schemas.plan` puts them together and is what others import."""
