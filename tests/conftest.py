"""Settings of all tests: Hypothesis does not judge how fast a shared machine is."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# On a fresh clone the first text drawn builds Hypothesis's table of characters, a second or two on a busy machine.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")
