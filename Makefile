# make demo   see it work: record a program that leaks and one that does not, and compare
# make test   lint, types and tests
# make bench  benchmarks
# make fuzz   ten minutes (FUZZ_SECONDS=600) of made-up and damaged files against every importer; see tests/fuzz/README.md
# make docs   the documents as a site in site/, to be opened from there; it needs no server and no network
# make screenshots   the pictures of the documents, made by what they show
# make zoo    a minute: programs that leak and programs that do not, recorded together, and how right `leaks` is about them
# make clean  remove everything that these made
#
# Needs make, and Python 3.11 or newer with its venv module. PYTHON=... chooses another interpreter.

SHELL := /bin/bash
# What is imported some hundred times is compiled once.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help demo test bench fuzz docs screenshots zoo clean

VENV := .venv
BIN := $(VENV)/bin
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done),python3)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

help:
	@sed -n 's/^# //p' Makefile

$(BIN)/pip:
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "pmapdiff needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 2; }
	@# pip comes last; --clear: what an interrupted make left half done is made anew.
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); echo "on Debian: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@echo "installing pmapdiff into $(VENV) (once; about half a minute)"
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/pip
	@echo "installing pmapdiff and what its tests need into $(VENV) (once; about a minute)"
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" docs/demo/run.sh

test: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	MYPY_NUM_WORKERS=2 $(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

bench: $(VENV)/.installed-test
	$(BIN)/python -m tests.benchmarks

$(VENV)/.installed-fuzz: pyproject.toml | $(BIN)/pip
	@echo "installing pmapdiff and what searches it into $(VENV) (once; about a minute)"
	$(PIP) install --editable '.[test,fuzz]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

fuzz: $(VENV)/.installed-fuzz
	@PYTHONPATH="$(CURDIR)/tests" $(BIN)/python -m fuzz

docs: $(VENV)/.installed-test
	@# The theme's announcements are no business of who builds the documents; --strict stays.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open $(CURDIR)/site/index.html"

screenshots: $(VENV)/.installed-test
	@PYTHONPATH="$(CURDIR)/tests" $(BIN)/python -m screenshots

zoo: $(VENV)/.installed-test
	@PYTHONPATH="$(CURDIR)/tests" $(BIN)/python -m zoo

clean:
	rm -rf $(VENV) build dist site demo-output artefacts .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
