"""Text to a checked recipe: YAML with places, `extends:`, variables, overrides, and every finding at its line."""
