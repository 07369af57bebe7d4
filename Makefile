# Both commands set up `.venv` by themselves; Python ≥ 3.11 and make are all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q -n auto --dist worksteal

.PHONY: verify test test-all lint thorough bench clean
.DELETE_ON_ERROR:

verify: $(VENV)/ready  ## every law on every operation: the main job
	$(BIN)/backprop verify

test: lint  ## the tests of all of it, on all cores: some eight minutes on two
	$(PYTEST)

test-all: test  ## and those that take long: more faults, every option, library and sweep that others stand for in `test`
	$(PYTEST) -m exhaustive

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

thorough: $(VENV)/ready  ## random exploration, new cases at every run, and every row of the longest tables: many hours
	$(PYTEST) -m '' --hypothesis-profile=thorough tests

bench: $(VENV)/ready  ## how fast: beside JAX, PyTorch and autograd where installed; BENCH='--cells softmax' chooses
	PYTHONPATH=tests $(BIN)/python -m benchmarks $(BENCH)

$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "backprop-reference needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
