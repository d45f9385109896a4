# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

# `make run` boots the default matrix, `make test` runs every test. Both set up what is missing first, once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help run test check mutate lint docs bench fuzz audit sbom setup packages schema vendor clean

# Every worker of the tests would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/ready
MINUTES := 10
ALPINE := 3.17.4

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

run: setup  ## boot the default matrix and show what each kernel answered
	$(VENV)/bin/runner matrix run

test: lint docs  ## lint, type checks, the docs, and all tests; boots real guests
	@sh runner/packages.sh --list tests/packages.txt
	$(PY) -m pytest -m 'not heavy' -n auto --dist worksteal
	$(PY) -m pytest -m heavy -n 2 --dist worksteal

check: lint  ## lint, type checks and unit tests, without guests
	$(PY) -m pytest tests/unit -n auto --dist worksteal

mutate: setup  ## compile the BPF programs without their calls of kfuncs: every claim that shows one at work must break
	$(PY) -m pytest tests/guest/test_mutate.py

lint: setup  ## style, types, and the license of every file
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(VENV)/bin/reuse lint --lines

docs: setup  ## build the docs as a site in build/docs; a link or an anchor that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

fuzz: setup  ## hostile inputs for each parser, ten minutes each; MINUTES=N, PARSER=NAME for one
	$(PY) -m tests.fuzz --minutes $(MINUTES) $(PARSER)

audit: setup  ## ask for known vulnerabilities of what is installed; fails without its network
	@mkdir -p build
	$(PY) -m pip install --quiet --progress-bar off --group audit
	$(PY) -m pip freeze --exclude-editable > build/requirements.txt
	@rm -f build/audit.txt
	$(VENV)/bin/pip-audit --strict --no-deps --disable-pip --requirement build/requirements.txt --output build/audit.txt \
	2> build/audit.log || { cat build/audit.txt 2>/dev/null || { tail -n 1 build/audit.log; \
	echo 'not audited: the index did not answer for every package; see build/audit.log'; }; exit 1; } >&2
	@tail -n 1 build/audit.log

sbom: setup  ## list what is installed as CycloneDX in build/sbom.json
	@mkdir -p build
	$(PY) -m pip install --quiet --progress-bar off --group audit
	$(VENV)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o build/sbom.json $(PY)

bench: setup  ## measure speed, as ratios; BEFORE=COMMIT: also against that commit
	BEFORE=$(BEFORE) $(PY) -m tests.bench

setup: packages $(READY)  ## Debian packages, virtual environment, this project

packages:
	@sh runner/packages.sh

# Dependency groups need pip 25.1; what a new virtual environment brings may be older.
$(READY): pyproject.toml | packages
	@$(PYTHON) -c 'import sys; sys.exit("needs Python 3.11 or later: make PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --progress-bar off --upgrade 'pip>=25.1'
	$(PY) -m pip install --quiet --progress-bar off --editable . --group dev
	@touch $@

schema: setup  ## write matrix.schema.json and hosts.schema.json again, from the code
	$(PY) -c 'import json; from runner.matrix import json_schema; print(json.dumps(json_schema(), indent=2))' > matrix.schema.json
	$(PY) -c 'import json; from runner.hosts.hostsfile import json_schema; print(json.dumps(json_schema(), indent=2))' > hosts.schema.json

vendor:  ## fetch the site's JavaScript again; needs npm. The version stands in runner/reports/static/LICENSES.md
	tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	npm pack --silent --pack-destination "$$tmp" '@alpinejs/csp@$(ALPINE)'; \
	tar -xzf "$$tmp"/*.tgz -C "$$tmp"; \
	cp "$$tmp/package/dist/cdn.min.js" runner/reports/static/alpine.js

clean:  ## remove the virtual environment and caches of tools; kernels, images and reports stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find runner tests -name __pycache__ -type d -prune -exec rm -rf {} +
