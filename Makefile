# `make` lists the targets. Everything is installed into .venv; PYTHON chooses the interpreter that makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
METADATA := setup.cfg pyproject.toml
OLDEST := .venv-oldest
JOBS ?= 2
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help install demo test test-oldest check docs reference mutants fuzz kills golden clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12 chooses the interpreter of .venv (3.11 or newer); JOBS=4 tests in four processes."

install: $(VENV)/.installed ## Install FOCUS into .venv

demo: $(VENV)/.installed ## Draw people, train a tiny model, evaluate, predict and explain: no data, no weights
	$(BIN)/focus demo

test: $(VENV)/.installed-test ## Run the tests; set FOCUS_SHARED_DATA for those on real data
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-oldest: $(OLDEST)/.installed ## Try the main commands with the oldest packages that setup.cfg allows
	PYTHONPATH=$(OLDEST) $(BIN)/python tests/contracts/smoke_oldest.py

check: $(VENV)/.installed-dev ## Lint, formatting and types, nothing is changed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-dev ## Build the documentation into docs/_build/html; warnings are errors
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

reference: $(VENV)/.installed ## Write the generated pages of docs/reference/ anew
	$(BIN)/python docs/generate.py

mutants: $(VENV)/.installed-dev ## Mutation tests of losses, metrics, prompts, label reader, checkpoint: 10 minutes
	rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/mutmut results

fuzz: $(VENV)/.installed ## Damage every kind of file that focus reads, for SECONDS=60; failures go to fuzz-failures/
	$(BIN)/python tests/fuzz --seconds $(SECONDS)

kills: $(VENV)/.installed ## Kill train, index, prepare and export at random moments, and repeat them: 15 minutes
	$(BIN)/python tests/fuzz/kills.py

golden: $(VENV)/.installed-test ## Write the golden files of the tests anew; review them as a diff
	$(BIN)/python tests/golden.py
	$(BIN)/python tests/contracts/test_options.py

clean: ## Remove caches, build outputs and demo/; keeps .venv, runs/ and data
	rm -rf build dist demo mutants docs/_build fuzz-failures *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find clip_impl focuscli tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { echo "No $(PYTHON) here. Name a Python 3.11 or newer: make install PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "$$("$(PYTHON)" --version 2>&1) is too old: FOCUS needs Python 3.11 or newer." >&2; \
	    echo "Name a newer one: make install PYTHON=python3.12" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/.installed: $(METADATA) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[gallery]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Not a virtual environment: packages that stand before those of .venv on the path, and so take the place of theirs.
$(OLDEST)/.installed: $(METADATA) $(VENV)/.installed
	rm -rf $(OLDEST)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --target $(OLDEST) \
	    $$($(BIN)/python tests/contracts/smoke_oldest.py --requirements)
	@touch $@
