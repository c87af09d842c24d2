# `make demo` and `make test` are all that a fresh machine needs: each sets up .venv/ first, from locks with hashes.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
# The newer stack: Python 3.12, torch 2.11, transformers 5 (docs/newer-stack.md).
PYTHON_NEXT ?= $(shell command -v python3.12)
BIN_NEXT := .venv-next/bin
STAMP_NEXT := .venv-next/.installed
PYTEST := -m pytest -q -n auto --dist loadgroup

.PHONY: demo test check fix tree schemas golden test-next bench evidence mutate kill-resume calibration lock clean help
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(STAMP): requirements.lock .ci/bootstrap.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/bootstrap.lock
	$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python -e .
	@touch $@

$(STAMP_NEXT): requirements-next.lock .ci/bootstrap.lock pyproject.toml
	$(PYTHON_NEXT) -m venv .venv-next
	$(BIN_NEXT)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/bootstrap.lock
	$(BIN_NEXT)/uv pip sync --quiet --require-hashes --python $(BIN_NEXT)/python requirements-next.lock
	$(BIN_NEXT)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN_NEXT)/python -e .
	@touch $@

demo: $(STAMP) ## check, plan, compile and run recipes/quickstart.yaml on the CPU
	$(BIN)/recipec check recipes/quickstart.yaml
	$(BIN)/recipec plan recipes/quickstart.yaml
	$(BIN)/recipec compile recipes/quickstart.yaml
	$(BIN)/recipec run recipes/quickstart.yaml

test: $(STAMP) ## all tests
	$(BIN)/python $(PYTEST) tests

check: $(STAMP) lint test ## what a reviewer wants: format, lint, types, contracts, tests

.PHONY: lint
lint: $(STAMP) ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP) ## format, and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

tree: ## rewrite the tree in README.md
	$(BIN)/python .ci/tree.py

schemas: $(STAMP) ## rewrite JSON Schemas and generated docs
	$(BIN)/python -m compiler.schema_docs

golden: $(STAMP) ## rewrite golden files; review the diff
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q tests/compiler

test-next: $(STAMP_NEXT) ## the runtime's tests on the newer stack
	$(BIN_NEXT)/python $(PYTEST) tests/runtime

bench: $(STAMP) ## the tables of benchmarks/
	$(BIN)/python -m benchmarks.plan_time
	$(BIN)/python -m benchmarks.step_overhead
	$(BIN)/python -m benchmarks.data_loader speed
	$(BIN)/python -m benchmarks.data_loader scale
	$(BIN)/python -m benchmarks.stock_mixing
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.technique_overhead
	$(BIN)/python -m benchmarks.pruned_inference

evidence: $(STAMP) ## do published findings about compression hold here? three seeds, docs/evidence.md (half an hour)
	$(BIN)/python -m benchmarks.evidence --write

mutate: $(STAMP) ## 10,000 mutated recipes: a plan or diagnostics, never a traceback
	$(BIN)/python -m benchmarks.mutate --count 10000

kill-resume: $(STAMP) ## kill -9 and go on, here and on other machines: the same loss, no sample lost or repeated
	$(BIN)/python -m benchmarks.kill_resume
	$(BIN)/python -m benchmarks.kill_resume --elastic --kills 10

calibration: $(STAMP) ## fit the estimates to the published runs again, with all tables that follow (20 minutes)
	$(BIN)/python -m benchmarks.calibrate.fit
	$(BIN)/python -m benchmarks.calibrate.memory --write
	$(BIN)/python -m benchmarks.cost_table --write

lock: $(STAMP) ## resolve the locks again
	.ci/lock

clean: ## remove what make made
	rm -rf .venv .venv-next runs generated/quickstart-*
