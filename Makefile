# Everything starts from Python (3.11 or newer) and make; `.venv` is made on first use.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BROWSER := .venv/.browser
AZURITE := .venv/.azurite
AXE := .venv/.axe
DOCS := .venv/.docs
PEERS := .venv-peers/.ready
DEMO ?= demo
export DAGSTER_HOME := $(CURDIR)/dagster_home
# Compiled Python is kept, whatever the shell says: the tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo dev dist test coverage test-slow test-exhaustive test-browser test-newest test-pythons \
	prepare lint lint-types lint-code lint-definitions docs docs-links bench bench-peers performance clean

help:
	@echo "make demo   generate a small data set and publish it, end to end"
	@echo "make dev    Dagster's UI and daemon on the demo data"
	@echo "make dist   segpipe's wheel and source distribution, into dist/"
	@echo "make test   the test suite"
	@echo "make coverage  the library's part of them, and how much of it they run; see test-artefacts/coverage"
	@echo "make test-slow  the longer tests: kills, races, cuts of the power, interleavings, mutations"
	@echo "make test-exhaustive  all cuts of the power, interleavings and hostile manifests: hours"
	@echo "make test-browser  segpipe's pages and Dagster's, in a real Chromium; keeps pictures of them"
	@echo "make test-newest  a few tests with the newest Dagster 1.x, where that is not the pinned one"
	@echo "make test-pythons  the wheel, the demo and some tests with every Python that is found"
	@echo "make lint   formatting, lint, types, layers of imports, Dagster's own validation"
	@echo "make docs   the documentation as a site, in site/; a link that leads nowhere is an error"
	@echo "make bench  measure, as ratios to baselines in the same run"
	@echo "make bench-peers  the same beside other libraries"
	@echo "make performance  the same, into docs/performance.md"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "segpipe needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true # pip would use one core; some files are templates
	@touch $(READY)

demo: $(READY)
	$(BIN)/segpipe demo --root $(DEMO)

dev: $(READY)
	@test -d $(DEMO) || $(BIN)/segpipe demo --root $(DEMO)
	$(BIN)/segpipe dev --root $(DEMO)

# The backend that builds them is pinned as well.
dist: $(READY)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m build --outdir dist .

# Tests write files and sync them: in memory, where there is room for it.
IN_MEMORY := $(shell test -w /dev/shm && df -Pk /dev/shm | awk 'NR == 2 && $$4 > 8e6 {print "PYTEST_DEBUG_TEMPROOT=/dev/shm"}')
PYTEST := $(IN_MEMORY) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

# Azure's blob storage for the tests, a program of npm's; where there is none, they skip and say so.
$(AZURITE): $(READY)
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --ignore-scripts --fetch-retries=1 --fetch-timeout=60000 \
		--prefix .venv/azurite azurite@3.35.0 || echo "Azurite does not install here"; \
	else echo "no npm here: the tests on Azure skip"; fi
	@touch $(AZURITE)

# What the tests need, made while lint leaves a core idle: with numba's kernels compiled and cached by
# the tests of theirs, not every process of the tests compiles them.
prepare: $(READY) $(AZURITE)
	$(BIN)/python -m pytest -q tests/masks/test_fast_path.py tests/masks/test_scores.py \
		tests/masks/test_boundaries.py tests/masks/test_co_occurrence.py tests/predictions/test_pdf_column.py

FAST := not slow and not browser and not newest and not pythons
# The tests whose packages `make coverage` measures: of the library without its commands, its pages
# and Dagster, whose tests start processes. To trace a line costs more than to run it.
MEASURED := evaluation formats manifests masks predictions tables validation views

# With COVERAGE=1 as two runs, the measured part first; no test runs twice.
test: $(READY) $(AZURITE) $(if $(COVERAGE),coverage)
	$(PYTEST) -m "$(FAST)" $(if $(COVERAGE),$(MEASURED:%=--ignore=tests/%))

# Fewer lines and branches than this share is a failure: code came without tests, or tests went.
FLOOR := 93
coverage: $(READY) $(AZURITE)
	$(PYTEST) -m "$(FAST)" $(MEASURED:%=tests/%) --cov --cov-report=term --cov-report=html \
		--cov-fail-under=$(FLOOR)

# Three at a time on two cores: they wait much, for Dagster's daemons, for retries and for kills.
test-slow: $(READY) $(AZURITE)
	SEGPIPE_KILLS=40 $(PYTEST) --numprocesses 3 --timeout 900 -m slow

$(BROWSER): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[browser]'
	@touch $(BROWSER)

test-exhaustive: $(READY) $(AZURITE)
	SEGPIPE_EXHAUSTIVE=1 SEGPIPE_KILLS=200 $(PYTEST) --timeout 20000 -m "slow or hypothesis"

# The files in which a mark stands: to collect all tests takes longer than to run a few.
marked = $$(grep -rl 'mark\.$(1)\b' tests --include='test_*.py')

# Deque's checker of accessibility, for the tests; where there is none, they skip and say so.
$(AXE): $(READY)
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --ignore-scripts --fetch-retries=1 --fetch-timeout=60000 \
		--prefix .venv/axe axe-core@4.14.1 || echo "axe does not install here"; \
	else echo "no npm here: the tests of accessibility skip"; fi
	@touch $(AXE)

test-browser: $(BROWSER) $(AXE)
	$(BIN)/python -m pytest -m browser $(call marked,browser)

test-newest: $(READY)
	$(BIN)/python -m pytest -m newest $(call marked,newest)

test-pythons: $(READY)
	$(BIN)/python -m pytest -m pythons $(call marked,pythons)

lint: lint-types lint-code lint-definitions

lint-types: $(READY)
	$(BIN)/mypy
	MYPYPATH=examples/dagster_project/src $(BIN)/mypy --allow-any-generics -p street_labelling

lint-code: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m segpipe.queries.tables_page --check docs/tables.md
	$(BIN)/python -m docs.reference_pages --check

lint-definitions: $(READY)
	SEGPIPE_ROOT=$(DEMO) $(BIN)/dagster definitions validate -w workspace.yaml --log-level warning

$(DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $(DOCS)

# Links between pages, and to parts of them, are checked; those to other sites by `docs-links`, which
# needs the network.
docs: $(DOCS)
	$(BIN)/sphinx-build --builder html --conf-dir docs --jobs 2 --quiet --fail-on-warning --keep-going --fresh-env --write-all . site
	@echo "site/index.html"

docs-links: $(DOCS)
	$(BIN)/sphinx-build --builder linkcheck --conf-dir docs --doctree-dir site/.doctrees --quiet . site/links

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
	rm -rf .venv .venv-peers demo dist build site
