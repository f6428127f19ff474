# Everything runs in .venv, which the first target that needs it creates.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.ready
# One thread per process: two test processes share the cores of a small machine without waiting on each other.
export OMP_NUM_THREADS := 1

.PHONY: test check unit demo docs site format clean

## test: everything CI runs; pytest comes last so that its summary closes the output
test: check site unit

## check: linters, types and the layers, without running anything
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## unit: the test suite on two processes
unit: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

## demo: check a small network with two realistic faults
demo: $(READY)
	@echo 'nnlint check examples/quickstart.py:build'
	@$(BIN)/nnlint check examples/quickstart.py:build; status=$$?; \
	echo "exit status $$status: 1 says that faults were found, and this example has two on purpose"; \
	test $$status -eq 1

## docs: regenerate the pages that come from the code
docs: $(READY)
	$(BIN)/python scripts/gen_docs.py
	$(BIN)/python scripts/gen_schema.py
	$(BIN)/python scripts/gen_article.py

## site: build the documentation into build/site; broken links fail
site: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -q

## format: rewrite the sources in the house style
format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# torch goes first, at the pinned version: a range would let pip choose a build with gigabytes of CUDA packages.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,dev,docs,libraries]'
	@touch $@
