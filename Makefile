# Two commands do everything: `make train` (the main job) and `make test`. Both begin with `make setup`.

PYTHON ?= python3.11
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help setup train ui test lint lock doctor

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: .venv/.ready ## make .venv from uv.lock, bytecode compiled (does nothing when it is there)

# The commands in .venv name the folder that they were made in: in a clone that was moved they are made anew.
MOVED := $(shell test ! -s .venv/.ready || test "$$(cat .venv/.ready)" = "$$(pwd -P)" || echo moved)
.PHONY: moved
moved:
	rm -rf .venv

.venv/.ready: uv.lock pyproject.toml $(MOVED)
	test -x .venv/bin/python || $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	test -x .venv/bin/uv || .venv/bin/python -m pip install --quiet uv
	VIRTUAL_ENV= .venv/bin/uv sync --frozen --compile-bytecode --quiet
	pwd -P > $@

train: setup ## train a basic CNN on Fashion-MNIST; others by ARGS="-P model=deeper_cnn -P dataset=cifar100"
	mlflow run . -e train --env-manager local $(ARGS)

ui: setup ## open the runs on http://127.0.0.1:5000
	mlflow ui

doctor: setup ## what this machine has, and what to type next
	@python -m entrypoints.doctor

test: setup ## run every test; some by ARGS="-k settings"
	python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder $(ARGS)

lint: setup ## format and lint check, types
	ruff format --check . && ruff check . && mypy

lock: setup ## after a change of pyproject.toml: uv.lock anew, and conda.yaml from it
	uv lock
	python -m tests.conda_yaml > conda.yaml
