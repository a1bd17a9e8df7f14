# Short names for the commands below; `make help` lists them.
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help venv run serve services test test-fast test-slow test-s3 test-kafka chaos test-images lint format coverage model specs docs dist images dev-images wheelhouse lock bench \
	bench-skill bench-images bench-serving bench-kafka soak clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: venv ## Run the pipeline: DATASET=path/to/X.csv, PARAMS="epochs=5 target_columns=down", PIPELINE=boosted, RUNNER=, STORE=, MLFLOW=
	@$(BIN)/python -m pipeline.runner $(if $(PIPELINE),--pipeline "$(PIPELINE)") $(if $(DATASET),--dataset "$(DATASET)") $(if $(RUNNER),--runner "$(RUNNER)") \
		$(if $(STORE),--store "$(STORE)") $(if $(MLFLOW),--mlflow "$(MLFLOW)") $(foreach p,$(PARAMS),--param "$(p)")

serve: venv ## Serve live forecasts, and a page for people, with what the last `make run` promoted; PORT=8000
	@$(BIN)/flts-inference --serve --gateway-url "file://$(CURDIR)/.flts/store" --port "$(or $(PORT),8000)" \
		--mlflow-tracking-uri "sqlite:///$(CURDIR)/.flts/mlflow.db"

test: venv lint test-fast ## Run the linters and the fast tests, in minutes: ARGS="tests/unit -k name"

test-fast: venv ## Run the fast tests without the linters
	@$(BIN)/pytest -n auto --dist loadgroup $(ARGS)

test-slow: venv ## Run the slow tests (load, outages, kills, a browser, Kafka mode), which `make test` leaves out: ARGS="-m 'not browser'"
	@$(BIN)/pytest --suite=slow -n auto --dist loadgroup $(ARGS)

test-s3: venv ## Run the tests of the S3 store, fast and slow; FLTS_TEST_S3_ENDPOINT_URL= names another server
	@$(BIN)/pytest --suite=all -n auto --dist loadgroup tests/integration/test_s3_*.py $(ARGS)

test-kafka: venv ## Run the tests of Kafka mode, fast and slow: KAFKA_START= or KAFKA_BOOTSTRAP_SERVERS=, see docs/kafka.md
	@$(BIN)/pytest --suite=all -n auto --dist loadgroup tests/kafka $(ARGS)

chaos: venv ## Kill workers and brokers at 200 random moments (KILLS=200): is every dataset promoted once? (10 minutes)
	@FLTS_CHAOS_KILLS=$(or $(KILLS),200) $(BIN)/pytest --suite=all -n 0 tests/kafka/test_chaos.py $(ARGS)

test-images: venv images ## Build the images and test them; needs Docker and docker-registry: ARGS="-k readmes"
	@$(BIN)/pytest --suite=images $(ARGS)

lint: venv ## Check format, style, types, imports, shell scripts, Dockerfiles and CI workflows
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/shellcheck .ci/run $(wildcard scripts/*.sh images/*.sh deploy/dev/*.sh deploy/dev/*/*.sh)
	@$(BIN)/hadolint $(wildcard images/*/Dockerfile deploy/dev/*/Dockerfile)
	@$(BIN)/jactionlint
	@report=$$($(BIN)/lint-imports --no-logo --no-cache) || { echo "$$report"; exit 1; }

format: venv ## Format the code, and fix what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

coverage: venv ## Measure which lines and branches the unit and contract tests run; fails under the floor in pyproject.toml
	@$(BIN)/pytest -n auto --dist loadgroup --cov --cov-report=term:skip-covered tests/unit tests/contract $(ARGS)

services: venv ## Run S3 and MLflow until Ctrl-C, and print the variables to export
	@$(BIN)/python -m scripts.services

model: venv ## Scaffold a model that trains at once, and everything that belongs to it: NAME=nhits
	@$(BIN)/python -m scripts.new_model "$(NAME)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(VENV)/installed

specs: venv ## Compile specs and pipeline; into build/specs/ with REGISTRY=, TAG=, DIGESTS=build/images.json or TIMEOUT=seconds
	@$(BIN)/python -m scripts.compile_specs $(if $(REGISTRY),--registry "$(REGISTRY)") $(if $(TAG),--tag "$(TAG)") \
		$(if $(DIGESTS),--digests "$(DIGESTS)")

docs: venv ## Write docs/stages/, the tables of docs/kafka.md and the picture of the architecture, which are generated
	@$(BIN)/python -m scripts.stage_docs
	@$(BIN)/python -m scripts.architecture

dist: venv ## Build the sdist and, from it, the wheel, into dist/
	@rm -rf dist
	@$(BIN)/uv build --quiet --out-dir dist

images: ## Build all images: BASE_IMAGE=python:3.11-slim-bookworm, TORCH=cuda; scripts/build_push.sh also pushes
	@scripts/build_push.sh $(if $(BASE_IMAGE),--base "$(BASE_IMAGE)")

dev-images: ## Build stand-ins for the images of SeaweedFS, MLflow and Kafka, and print the variables that name them
	@scripts/dev_images.sh $(if $(BASE_IMAGE),--base "$(BASE_IMAGE)")

wheelhouse: venv ## Download what the images install, so that they build without an index: TORCH=cuda
	@scripts/wheelhouse.sh

lock: venv ## Pin new versions of what pyproject.toml asks for
	@$(BIN)/uv pip compile --quiet --upgrade --no-emit-index-url --no-header --python-version 3.11 --extra dev \
		pyproject.toml -o locks/dev.txt
	@scripts/image_locks.sh

bench: venv ## Measure what the project promises; prints a table and writes build/bench.json
	@$(BIN)/python -m benchmarks

bench-skill: venv ## Measure how well the models forecast eight series; writes build/bench_skill.json (half an hour)
	@$(BIN)/python -m benchmarks.bench_skill

bench-images: venv images ## Measure the images (size, rebuild, start) and the S3 store; writes build/bench_images.json
	@$(BIN)/python -m benchmarks.bench_images

bench-serving: venv ## Measure what serves all day; writes build/bench_gateway.json and build/bench_serving.json
	@$(BIN)/python -m benchmarks.bench_gateway
	@$(BIN)/python -m benchmarks.bench_serving

bench-kafka: venv ## Measure Kafka mode, with KAFKA_START= on two brokers in turns; writes build/bench_kafka.json
	@$(BIN)/python -m benchmarks.bench_kafka $(if $(DATASET),--dataset "$(DATASET)")

soak: venv ## Keep the servers under load for an hour (SECONDS=3600): is every request answered, is memory flat?
	@$(BIN)/python -m benchmarks.soak $(if $(SECONDS),--seconds "$(SECONDS)")

clean: ## Remove everything that was built, run or cached, but not .venv
	rm -rf build dist .flts .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

venv: $(VENV)/installed ## Make .venv with everything that locks/dev.txt pins

# pip installs torch, whose build depends on the machine; uv installs the rest, faster.
$(VENV)/installed: locks/dev.txt pyproject.toml
	@echo "installing what locks/dev.txt pins into $(VENV) (a few minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --no-compile --disable-pip-version-check $$(grep -E '^(uv|torch)==' locks/dev.txt)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -r locks/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@
