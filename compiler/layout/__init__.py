"""How a model lies on its devices: the layouts that there are, which fits and is fastest, and what to change where none does."""
