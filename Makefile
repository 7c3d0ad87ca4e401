# Two commands do everything: `make train` (the main job) and `make test`. Both begin with `make setup`.

# Where the packages are, and the Python that they are for: the newest one here that can make a virtual environment.
# `make PYTHON=python3.12` takes another (and makes .venv anew); with `VENV=.venv-3.12` beside it both are kept.
VENV ?= .venv
SUPPORTED := python3.13 python3.12 python3.11
SERVES := -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
NEWEST = $(eval NEWEST := $(shell for each in $(SUPPORTED); do $$each $(SERVES) 2>/dev/null && echo $$each && break; done))$(NEWEST)
PYTHON ?= $(NEWEST)
NO_PYTHON = $(or $(PYTHON),what there is of $(SUPPORTED)) cannot be used: Python 3.11 to 3.13 with venv is needed \
	(Debian, Ubuntu: apt-get install python3-venv); name one: make PYTHON=python3.12
export PATH := $(abspath $(VENV))/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help setup extras train ui test test-thorough test-second notebooks lint lock doctor

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/' | expand -t 21

setup: $(VENV)/.ready ## make .venv from uv.lock, bytecode compiled (does nothing when it is there)

# The commands in .venv name the folder that they were made in: in a clone that was moved they are made anew. So they are
# for another Python that is asked for.
STALE := $(shell test ! -s $(VENV)/.ready || test "$$(cat $(VENV)/.ready)" = "$$(pwd -P)" || echo stale)
ifeq ($(origin PYTHON),command line)
ifneq ($(shell $(PYTHON) $(SERVES) 2>/dev/null && echo yes),yes)
$(error $(NO_PYTHON))
endif
VERSION := -c 'import sys; print(sys.version_info[:2])'
STALE := $(or $(STALE),$(shell test ! -x $(VENV)/bin/python || \
	test "$$($(VENV)/bin/python $(VERSION))" = "$$($(PYTHON) $(VERSION))" || echo stale))
endif
.PHONY: stale
stale:
	rm -rf $(VENV)

$(VENV)/.ready: uv.lock pyproject.toml $(STALE)
	@test -x $(VENV)/bin/python || $(PYTHON) $(SERVES) 2>/dev/null || { echo "make: $(NO_PYTHON)" >&2; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	test -x $(VENV)/bin/uv || $(VENV)/bin/python -m pip install --quiet uv
	VIRTUAL_ENV= UV_PROJECT_ENVIRONMENT=$(VENV) $(VENV)/bin/uv sync --frozen --compile-bytecode --quiet
	pwd -P > $@

extras: setup ## install what some settings need: PyTorch for sampler=gp, PySpark for engine=spark
	python -m pip install --quiet torch==2.13.0 pyspark==4.1.4

train: setup ## train a basic CNN on Fashion-MNIST; others by ARGS="-P model=deeper_cnn -P dataset=cifar100"
	mlflow run . -e train --env-manager local $(ARGS)

ui: setup ## open the runs on http://127.0.0.1:5000
	mlflow ui

doctor: setup ## what this machine has, and what to type next
	@python -m entrypoints.doctor

PYTEST := python -m pytest --dist loadscope --no-loadscope-reorder --max-worker-restart 0

# More processes than two cores: many tests wait for something, those of whole commands the most.
test: setup ## run the tests; some by ARGS="-k settings"
	$(PYTEST) --numprocesses 4 $(ARGS)

test-thorough: setup ## run the tests that take long and that `make test` leaves out
	$(PYTEST) --numprocesses 5 -m thorough $(ARGS)

# What depends most on Python's version: settings and their --help, data, processes; the training comes before them.
QUICK := $(addprefix tests/,test_keras_startup.py test_recipes.py test_settings.py test_errors.py evaluation \
	test_mlproject.py test_doctor.py test_processor.py data)

test-second: setup ## a training of digits and two minutes of tests: make test-second PYTHON=python3.12 VENV=.venv-3.12
	mlflow run . -e train --env-manager local -P dataset=digits -P epochs=3
	python -m pytest $(QUICK)

notebooks: setup ## make the notebooks anew on the real data, with their outputs; one by ARGS=01_first_run
	python -m notebooks.build $(ARGS)

lint: setup ## format and lint check, types
	ruff format --check . && ruff check . && mypy

lock: setup ## after a change of pyproject.toml: uv.lock anew, and conda.yaml from it
	uv lock
	python -m tests.conda_yaml > conda.yaml
