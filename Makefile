# Every target starts from an environment of its own in .venv/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Compiled modules are kept beside the environment, whatever the caller's settings say.
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/pycache
unexport PYTHONDONTWRITEBYTECODE

.PHONY: env drill drill-game test check slow pooler real cluster-test fuzz format clean help

help: ## list the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

env: $(STAMP) ## create .venv/ with everything in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "premortem needs python3 >= 3.11 (PYTHON=...)"; exit 3; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "python3's venv module is missing: apt-get install python3-venv"; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $(STAMP)

drill: env ## play the outage of the seeds twice, and show the difference
	$(BIN)/premortem drill shop

drill-game: env ## the same for the game
	$(BIN)/premortem drill game

test: env check slow real ## all tests

check: env ## the quick loop: format, lint, types, import contracts, unit and contract tests
	$(BIN)/ruff format --check --quiet src tests benchmarks
	$(BIN)/ruff check --quiet src tests benchmarks
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-cache --no-logo 2>/dev/null >$(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	$(BIN)/python -m pytest -n 2 -m "not slow" tests/unit tests/contracts src

slow: env ## tests without servers that take their time: explored models, simulated hours
	$(BIN)/python -m pytest -n 2 -m slow tests/unit tests/contracts
	$(BIN)/python -m pytest -n 2 tests/sim

pooler: # no wheel has PgBouncer: installed where we may, else the tests that need it skip and say so
	@command -v pgbouncer >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		timeout 120 apt-get update -qq && DEBIAN_FRONTEND=noninteractive timeout 120 apt-get install -y -qq pgbouncer >/dev/null 2>&1; } || \
		echo "tests of the pooler will skip; to run them: apt install pgbouncer"

real: env pooler ## tests with real servers
	$(BIN)/python -m pytest tests/real

cluster-test: env pooler ## only those of the cluster: real Patroni, etcd, HAProxy and PgBouncer
	$(BIN)/python -m pytest tests/real/test_cluster*.py

fuzz: env ## the property tests with new examples at each call, ten times as many where a test sets no number
	$(BIN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile fuzz tests/unit tests/contracts

bench-%: env ## one benchmark, as in make bench-omission (ARGS="..."); each is a file of benchmarks/
	$(BIN)/python -m benchmarks.$* $(ARGS)

format: env ## put the code into shape
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix --quiet src tests benchmarks

clean: ## remove the environment and what was built
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .hypothesis
