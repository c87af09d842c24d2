"""One module a step kind, each with `identity` and `run`; see runtime/steps/base.py."""
