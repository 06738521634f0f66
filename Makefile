# Two commands do all: `make run` starts a small living ISP, `make test` runs every test.
# Everything needed is installed by the project's own files into .venv and node_modules.

ifndef PYTHON
PYTHON := $(shell tools/python)
endif
export PYTHON
VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest
SHELL := /bin/bash
# Where it is set (as container images like to), every start of a program would compile all of it anew: 2 s of CPU.
unexport PYTHONDONTWRITEBYTECODE
.DELETE_ON_ERROR:
.PHONY: help run test test-long test-random test-packages check format bench web setup lock migration clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/.lab web ## start the controller with a small living ISP (Ctrl-C stops it)
	@exec $(PY) -m lab

# Three workers for two cores: tests wait for servers a fifth of their time.
test: $(VENV)/.dev web test-packages ## every test, some 12 minutes on 2 cores
	$(PYTEST) -n 3 --dist worksteal -m "not long" $(ARGS)

test-long: $(VENV)/.dev web test-packages ## the tests that need minutes each
	$(PYTEST) -n 2 --dist worksteal -m long --timeout 1800 $(ARGS)

test-random: $(VENV)/.dev web test-packages ## kills and requests of a new seed, which is printed: finds faults, decides nothing
	HEADEND_TEST_SEED=random $(PYTEST) -n 2 --dist worksteal -rA --timeout 1800 -k "kill or generated" tests/integration $(ARGS)

test-packages: ## the Debian packages that tests talk to, where we may install them
	@tools/test-packages

check: $(VENV)/.dev web ## lint, types, import rule, migrations, lock
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m tools.check_migrations
	$(PY) -m tools.check_lock

format: $(VENV)/.dev ## format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(VENV)/.dev web ## CPU per request, interleaved with FreeRADIUS where installed; ONLY=radius for one part
	$(PY) -m bench $(if $(ONLY),--only $(ONLY))

web: controller/web/static/vendor/.built ## fetch the browser libraries that the pages serve

setup: $(VENV)/.dev web ## everything a developer needs

controller/web/static/vendor/.built: package.json package-lock.json tools/web-assets
	@tools/preflight node npm
	@tools/web-assets

# The order of the three: what serves, what the lab adds, what development adds. Plain pip works as well as uv.
$(VENV)/bin/python:
	@tools/preflight python
	$(PYTHON) -m venv $(VENV)

$(VENV)/.lab: requirements/lab.txt pyproject.toml | $(VENV)/bin/python
	@if [ ! -e $(VENV)/.dev ] || [ requirements/dev.txt -nt $(VENV)/.dev ]; then tools/install requirements/lab.txt; fi
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	@tools/install requirements/dev.txt
	@touch $@ $(VENV)/.lab

lock: ## resolve dependencies anew into requirements/*.txt
	@tools/lock

migration: $(VENV)/.dev ## write a migration from the tables in the code: make migration MESSAGE="why"
	$(PY) -m tools.check_migrations --write "$(MESSAGE)"

clean: ## remove everything that was made
	rm -rf $(VENV) node_modules controller/web/static/vendor erp/finance/fonts bench/out dist build .mypy_cache .ruff_cache .pytest_cache
