# make demo: see it work. make install: for daily use. make test: everything CI runs. Each makes a virtual environment
# with plain python3 and pip, since the Pythons of Homebrew and Debian let nothing be installed into themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= demo
JOBS ?= 2
EXTRA := $(if $(filter Darwin,$(shell uname -s)),,[cpu])
INSTALL_DIR ?= $(or $(XDG_DATA_HOME),$(HOME)/.local/share)/routerd/venv
LINK_DIR ?= $(HOME)/.local/bin
DEVEXTRA := $(if $(filter Darwin,$(shell uname -s)),[dev],[cpu,dev])

.DEFAULT_GOAL := help
.PHONY: help demo install uninstall test test-agents lint types imports words format bench soak clean

help:
	@echo "make demo   install into .venv and run routerctl demo (MODEL=... takes any model)"
	@echo "make install  install it for daily use: into $(INSTALL_DIR), commands in $(LINK_DIR)"
	@echo "make uninstall  remove that again (first: routerctl uninstall)"
	@echo "make test   install what the tests need and run them all, but for those marked slow (make soak runs those)"
	@echo "make test-agents   run real agents against it (Linux; installs them from their registries; 10 minutes)"
	@echo "make lint types imports words   the other checks of .ci/run"
	@echo "make bench  the benchmarks, quickly"
	@echo "make soak   hours of use in minutes, the daemon killed 400 times and the ledger's writer 50, all architectures of"
	@echo "            mlx-lm, then hours of odd requests, answers and files (Linux)"

$(VENV)/installed: pyproject.toml client/pyproject.toml
	@echo "installing into $(VENV); the first time takes a minute"
	@packaging/make-venv '$(PYTHON)' $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ./client -e '.$(EXTRA)'
	@touch $@

$(VENV)/dev: $(VENV)/installed
	@echo "installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ./client -e '.$(DEVEXTRA)'
	@touch $@

demo: $(VENV)/installed
	$(BIN)/routerctl demo --model '$(MODEL)'

install:
	@echo "installing into $(INSTALL_DIR); this takes a minute"
	@packaging/make-venv '$(PYTHON)' '$(INSTALL_DIR)'
	@'$(INSTALL_DIR)/bin/python' -m pip install --quiet --disable-pip-version-check --upgrade ./client '.$(EXTRA)'
	@packaging/link-commands '$(INSTALL_DIR)' '$(LINK_DIR)'

uninstall:
	@packaging/link-commands --remove '$(INSTALL_DIR)' '$(LINK_DIR)'
	rm -rf '$(INSTALL_DIR)'

test: $(VENV)/dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-agents: $(VENV)/dev
	$(BIN)/python -m tests.agents

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev
	$(BIN)/mypy

imports: $(VENV)/dev
	$(BIN)/lint-imports

words: $(VENV)/dev
	$(BIN)/python -m tests.words

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
	ROUTERD_FUZZ_SECONDS=600 $(BIN)/python -m pytest tests/faults/test_fuzz.py
	ROUTERD_KILL_ROUNDS=50 $(BIN)/python -m pytest tests/process/test_ledger_kill.py
	$(BIN)/python -m pytest -m slow
	ROUTERD_FUZZ_SECONDS=3600 $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/process/test_request_fuzz.py
	ROUTERD_FUZZ_SECONDS=900 $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/process/test_bad_files.py tests/process/test_damaged_ledger.py -k any

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
