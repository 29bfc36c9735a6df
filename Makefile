# `make demo` shows it, `make check` proves it; each makes .venv when there is none.

PYTHON ?= python3
TORCH_CPU ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin

.PHONY: demo check lint types test clean

demo: $(BIN)/chiasm
	$(BIN)/python examples/demo.py

check: lint types test

lint: $(BIN)/chiasm
	$(BIN)/ruff check .

types: $(BIN)/chiasm
	$(BIN)/mypy --strict registry/chiasm_registry core/chiasm plugins/chiasm_plugins

test: $(BIN)/chiasm
	$(BIN)/python -m pytest -q -n 2

# The CPU build of torch goes in first, from wherever pip finds it; a platform without one gets the plain build.
# With a GPU, make .venv yourself and install the torch of your driver before the second line.
$(BIN)/chiasm:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "chiasm needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "setting up .venv, once; this takes a minute or two"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q "torch==2.13.0+cpu" \
		|| $(BIN)/python -m pip install -q --index-url $(TORCH_CPU) --extra-index-url https://pypi.org/simple "torch==2.13.0+cpu" \
		|| $(BIN)/python -m pip install -q "torch==2.13.0"
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"

clean:
	rm -rf .venv demo-output build dist .pytest_cache .mypy_cache .ruff_cache
