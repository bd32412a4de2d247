# make demo: see it work. make test: everything CI runs. Both make .venv with plain python3 and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= demo
EXTRA := $(if $(filter Darwin,$(shell uname -s)),,[cpu])
DEVEXTRA := $(if $(filter Darwin,$(shell uname -s)),[dev],[cpu,dev])

.DEFAULT_GOAL := help
.PHONY: help demo test test-agents lint types imports format bench soak clean

help:
	@echo "make demo   install into .venv and run routerctl demo (MODEL=... takes any model)"
	@echo "make test   install what the tests need and run them all, but for those marked slow (make soak runs those)"
	@echo "make test-agents   run real agents against it (Linux; installs them from their registries; 10 minutes)"
	@echo "make lint types imports   the other checks of .ci/run"
	@echo "make bench  the benchmarks, quickly"
	@echo "make soak   hours of use in minutes, then the daemon killed 400 times and the ledger's writer 50 (Linux, half an hour);"
	@echo "            all architectures of mlx-lm"

$(VENV)/installed: pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("routerd needs Python 3.11 or newer; say: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@echo "installing into $(VENV); the first time takes a minute"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ./client -e '.$(EXTRA)'
	@touch $@

$(VENV)/dev: $(VENV)/installed
	@echo "installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ./client -e '.$(DEVEXTRA)'
	@touch $@

demo: $(VENV)/installed
	$(BIN)/routerctl demo --model '$(MODEL)'

test: $(VENV)/dev
	$(BIN)/python -m pytest

test-agents: $(VENV)/dev
	$(BIN)/python -m tests.agents

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev
	$(BIN)/mypy

imports: $(VENV)/dev
	$(BIN)/lint-imports

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks.ipc --quick
	$(BIN)/python -m benchmarks.gateway --quick
	$(BIN)/python -m benchmarks.mlx --quick

soak: $(VENV)/dev
	$(BIN)/python -m benchmarks.soak
	ROUTERD_KILL_ROUNDS=100 $(BIN)/python -m pytest tests/process/test_orphans.py
	ROUTERD_KILL_ROUNDS=50 $(BIN)/python -m pytest tests/process/test_ledger_kill.py
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
