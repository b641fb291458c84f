# Needs Python 3.11 or later with venv, and make. Everything else is installed into .venv from requirements.lock.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench lock clean

help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## make .venv with exactly the locked packages

demo: $(READY) ## the main job as a story, on sample patients and a local channel
	@$(BIN)/cdp demo

test: $(READY) ## every test; those on Apache Spark in a process of their own
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not spark" tests
	@$(BIN)/python -m pytest -m spark tests/conformance

lint: $(READY) ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY) ## each ratio beside its bar; writes build/benchmarks.json
	@$(BIN)/python -m tests.benchmarks

lock: $(READY) ## resolve the dependencies anew into requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --upgrade \
	  --extra sail --extra spark --group dev --custom-compile-command "make lock" -o requirements.lock pyproject.toml

clean: ## remove .venv and everything that was built
	rm -rf .venv build dist demo .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# uv's cache makes a second environment cheap; the stamp makes a warm `make` free.
$(READY): pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; say PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or later is needed; say PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
