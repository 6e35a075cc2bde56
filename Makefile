# Everything starts from Python (3.11 or newer) and make; `.venv` is made on first use.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BROWSER := .venv/.browser
AZURITE := .venv/.azurite
AXE := .venv/.axe
PEERS := .venv-peers/.ready
DEMO ?= demo
export DAGSTER_HOME := $(CURDIR)/dagster_home

.PHONY: help demo dev test test-slow test-exhaustive test-browser test-newest lint bench bench-peers performance clean

help:
	@echo "make demo   generate a small data set and publish it, end to end"
	@echo "make dev    Dagster's UI and daemon on the demo data"
	@echo "make test   the test suite"
	@echo "make test-slow  the longer tests: kills, races, cuts of the power, interleavings, mutations"
	@echo "make test-exhaustive  all cuts of the power, interleavings and hostile manifests: hours"
	@echo "make test-browser  segpipe's pages and Dagster's, in a real Chromium; keeps pictures of them"
	@echo "make test-newest  a few tests with the newest Dagster 1.x, where that is not the pinned one"
	@echo "make lint   formatting, lint, types, layers of imports, Dagster's own validation"
	@echo "make bench  measure, as ratios to baselines in the same run"
	@echo "make bench-peers  the same beside other libraries"
	@echo "make performance  the same, into docs/performance.md"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "segpipe needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/segpipe demo --root $(DEMO)

dev: $(READY)
	@test -d $(DEMO) || $(BIN)/segpipe demo --root $(DEMO)
	$(BIN)/segpipe dev --root $(DEMO)

# Tests write files and sync them: in memory, where there is room for it.
IN_MEMORY := $(shell test -w /dev/shm && df -Pk /dev/shm | awk 'NR == 2 && $$4 > 8e6 {print "PYTEST_DEBUG_TEMPROOT=/dev/shm"}')
PYTEST := $(IN_MEMORY) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

# Azure's blob storage for the tests, a program of npm's; where there is none, they skip and say so.
$(AZURITE): $(READY)
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --ignore-scripts --fetch-retries=1 --fetch-timeout=60000 \
		--prefix .venv/azurite azurite@3.35.0 || echo "Azurite does not install here"; \
	else echo "no npm here: the tests on Azure skip"; fi
	@touch $(AZURITE)

test: $(READY) $(AZURITE)
	$(PYTEST) -m "not slow and not browser and not newest"

test-slow: $(READY) $(AZURITE)
	SEGPIPE_KILLS=40 $(PYTEST) --timeout 900 -m slow

$(BROWSER): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[browser]'
	@touch $(BROWSER)

test-exhaustive: $(READY) $(AZURITE)
	SEGPIPE_EXHAUSTIVE=1 SEGPIPE_KILLS=200 $(PYTEST) --timeout 20000 -m slow

# Deque's checker of accessibility, for the tests; where there is none, they skip and say so.
$(AXE): $(READY)
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --ignore-scripts --fetch-retries=1 --fetch-timeout=60000 \
		--prefix .venv/axe axe-core@4.14.1 || echo "axe does not install here"; \
	else echo "no npm here: the tests of accessibility skip"; fi
	@touch $(AXE)

test-browser: $(BROWSER) $(AXE)
	$(BIN)/python -m pytest -m browser

test-newest: $(READY)
	$(BIN)/python -m pytest -m newest

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m segpipe.queries.tables_page --check docs/tables.md
	SEGPIPE_ROOT=$(DEMO) $(BIN)/dagster definitions validate -w workspace.yaml --log-level warning

bench: $(READY)
	$(BIN)/python -m benchmarks

# Other libraries, with versions of numpy and Pillow of their own. Where not all of them install, each
# is tried by itself: what cannot be had is reported by the benchmark, and the others are measured.
PIP_PEERS := .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all:
$(PEERS): benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	$(PIP_PEERS) numpy pillow
	$(PIP_PEERS) --requirement $< || grep -v '^#' $< | while read -r peer; do \
		$(PIP_PEERS) "$$peer" </dev/null || echo "$$peer does not install here"; done
	@touch $@

bench-peers: $(READY) $(PEERS)
	$(BIN)/python -m benchmarks --peers .venv-peers/bin/python

performance: $(READY) $(PEERS)
	$(BIN)/python -m benchmarks --peers .venv-peers/bin/python --write

clean:
	rm -rf .venv .venv-peers demo
