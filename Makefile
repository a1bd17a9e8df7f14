# Short targets over the tools they name; `make help` lists them.
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAGES := preprocess train-gru train-lstm train-prophet eval inference
COMMANDS := $(STAGES:%=$(BIN)/flts-%)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help venv run services test test-images lint format specs docs images wheelhouse lock bench bench-images clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: venv ## Run the pipeline: DATASET=path/to/X.csv, PARAMS="epochs=5 target_columns=down", RUNNER=, STORE=, MLFLOW=
	@$(BIN)/python -m pipeline.runner $(if $(DATASET),--dataset "$(DATASET)") $(if $(RUNNER),--runner "$(RUNNER)") \
		$(if $(STORE),--store "$(STORE)") $(if $(MLFLOW),--mlflow "$(MLFLOW)") $(foreach p,$(PARAMS),--param "$(p)")

test: venv lint ## Run linters and every test: ARGS="tests/unit -k name"
	@$(BIN)/pytest -n auto --dist loadgroup $(ARGS)
	@echo "left out: the tests of the container images, which need Docker; make test-images runs them"

test-images: images ## Build the images and test them; needs Docker and docker-registry: ARGS="-k readmes"
	@$(BIN)/pytest -m images $(ARGS)

lint: venv ## Check format, style, types, shell scripts and generated files
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/shellcheck .ci/run $(wildcard scripts/*.sh images/*.sh)
	@$(BIN)/hadolint $(wildcard images/*/Dockerfile)
	@$(BIN)/jactionlint

format: venv ## Format and mend what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

services: venv ## Run S3 and MLflow until Ctrl-C, and print what to export
	@$(BIN)/python -m tests.services

specs: venv ## Compile component_specs/ and the pipeline; with REGISTRY=, TAG= or DIGESTS=build/images.json into build/specs/
	@$(BIN)/python scripts/compile_specs.py $(if $(REGISTRY),--registry "$(REGISTRY)") $(if $(TAG),--tag "$(TAG)") \
		$(if $(DIGESTS),--digests "$(DIGESTS)")

docs: venv ## Write the generated pages of docs/
	@$(BIN)/python scripts/stage_docs.py

images: venv ## Build the six images: BASE_IMAGE=python:3.11-slim-bookworm; scripts/build_push.sh pushes them too
	@scripts/build_push.sh $(if $(BASE_IMAGE),--base "$(BASE_IMAGE)")

wheelhouse: venv ## Download what the images install, so that they build without an index
	@scripts/wheelhouse.sh

lock: venv ## Pin anew what pyproject.toml asks for
	@$(BIN)/uv pip compile --quiet --upgrade --no-emit-index-url --no-header --python-version 3.11 --extra dev \
		pyproject.toml -o locks/dev.txt
	@scripts/image_locks.sh

bench: venv ## Measure what the project promises; prints a table, writes build/bench.json
	@$(BIN)/python -m benchmarks

bench-images: images ## Measure images (sizes, rebuild, start) and the S3 store; writes build/bench_images.json
	@$(BIN)/python -m benchmarks.bench_images

clean: ## Remove what was built, run and cached (not .venv)
	rm -rf build dist .flts .mypy_cache .ruff_cache .pytest_cache .hypothesis

venv: $(VENV)/installed $(COMMANDS) ## Make .venv with everything that is pinned

# pip takes torch, whose builds differ by machine; uv is quicker for all the rest.
$(VENV)/installed: locks/dev.txt pyproject.toml
	@echo "installing what locks/dev.txt pins into $(VENV) (a few minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --no-compile --disable-pip-version-check $$(grep -E '^(uv|torch)==' locks/dev.txt)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -r locks/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

$(BIN)/flts-%: images/%/main.py $(VENV)/installed
	@sed '1s|.*|#!$(CURDIR)/$(BIN)/python|' $< > $@
	@chmod +x $@
