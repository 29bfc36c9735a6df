# `make demo` shows it, `make check` proves it; each makes .venv when there is none.

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: demo check lint types test docs clean

demo: $(BIN)/chiasm
	$(BIN)/python examples/demo.py

check: lint types test

lint: $(BIN)/chiasm
	$(BIN)/ruff check .

types: $(BIN)/chiasm
	$(BIN)/mypy --strict registry/chiasm_registry core/chiasm plugins/chiasm_plugins

test: $(BIN)/chiasm
	$(BIN)/python -m pytest -q -n 2

# The pages as a site, in build/site; the reference among them is written from the code.
docs: $(BIN)/chiasm
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[docs]"
	$(BIN)/python docs/site.py build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build -q --strict

# torch goes in first, alone: on a machine without a GPU let pip find the CPU build of it (TORCH=torch==2.13.0+cpu asks
# for it by name), or the rest brings gigabytes of CUDA. With a GPU, make .venv yourself with the torch of your driver.
$(BIN)/chiasm:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "chiasm needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "setting up .venv, once; this takes a minute or two"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q "$(TORCH)"
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"

clean:
	rm -rf .venv demo-output build dist .pytest_cache .mypy_cache .ruff_cache
