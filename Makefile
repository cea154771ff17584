# Everything starts here; each target installs what it needs first, once.
#
#   make install    a virtual environment in .venv with stap and the tools for working on it
#   make demo       the whole path on generated videos, results in demo/
#   make test       every test
#   make quick      the tests that take seconds
#   make torture    damage, kills and hostile files by the thousand, about ten minutes
#   make check      linter, formatter, types, the manual
#   make docs       the manual as a site, in docs/_build/html
#   make browser    Chromium for the tests of the report's page, on Debian and Ubuntu; part of `make test`
#
# Another interpreter: make install PYTHON=python3.12; more cores: make test TEST_PROCESSES=8

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install demo test quick torture check docs browser clean

help:
	@sed -n 's/^#   //p' Makefile

install: $(VENV)/.installed-dev

demo: $(VENV)/.installed
	$(BIN)/stap demo --out demo

# Processes of one thread each: PyTorch's threads would fight for the cores. A process takes up to 3 GiB of memory.
TEST_PROCESSES ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

test: $(VENV)/.installed-dev browser
	$(PYTEST)

quick: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

torture: $(VENV)/.installed-dev
	$(BIN)/python -m tests.torture

check: $(VENV)/.installed-dev docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Warnings are errors.
docs: $(VENV)/.installed-dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

# Where it cannot be installed, a sentence says so and those tests are skipped.
browser:
	@for name in "$${STAP_CHROMIUM:-chromium}" chromium chromium-browser google-chrome; do \
	  if command -v "$$name" >/dev/null; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Chromium for the tests of the report ..."; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core \
	    >/dev/null && exit 0; \
	fi; \
	echo "No Chromium here: the tests of the report in a browser are skipped. On Debian and Ubuntu: sudo apt-get install chromium"

clean:
	rm -rf $(VENV) build docs/_build docs/generated src/*.egg-info .mypy_cache .ruff_cache .pytest_cache

# The stamp is written last, so an interrupted installation is done again.
$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@echo "Installing stap into $(VENV) (a few minutes, most of it PyTorch) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/pip
	@echo "Installing stap and its development tools into $(VENV) (a few minutes, most of it PyTorch) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(VENV)/.installed $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "stap needs Python 3.11 or newer; '$(PYTHON)' is not. Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
