# make repro   everything: data, training, grids, Pareto fronts, MLflow      make ui     MLflow in the browser
# make test    the tests                                                     make help   all targets
# Each target sets the environment up in .venv when it is missing or out of date.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
NATIVE := src/skipw/ops/native
RUNTIME := src/skipw/runtime/c
COMPILED := $(NATIVE)/build.py $(wildcard $(NATIVE)/csrc/*.*) $(RUNTIME)/build.py $(wildcard $(RUNTIME)/csrc/*.*)
SETUP_KEY := $(shell cat pyproject.toml constraints.txt setup.py $(COMPILED) \
	| cksum | cut -d' ' -f1)
STAMP := $(VENV)/.set-up-$(SETUP_KEY)
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)

export PATH := $(abspath $(VENV))/bin:$(PATH)
export OMP_NUM_THREADS ?= 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
# Where it is set every start compiles all packages again.
unexport PYTHONDONTWRITEBYTECODE
PORT ?= 5000

.PHONY: help setup repro pretrained test lint bench ui paper results register clean

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## the environment in .venv (Python 3.11 or 3.12, pip; uv is installed into it)

$(STAMP):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; pass it as make PYTHON=/path/to/python3.11"; exit 1; }
	@rm -f $(VENV)/.set-up-*
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@test -x $(VENV)/bin/uv || $(VENV)/bin/python -m pip install --quiet -c constraints.txt uv
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}" UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-}}" \
	  VIRTUAL_ENV="$(abspath $(VENV))" $(VENV)/bin/uv pip install --quiet -c constraints.txt -e ".[all]"
	@$(VENV)/bin/python $(NATIVE)/build.py || true
	@$(VENV)/bin/python $(RUNTIME)/build.py || true
	@touch $@

repro: $(STAMP)  ## the whole pipeline, two lanes side by side; `dvc repro` does the same one stage at a time
	@python pipelines/repro.py

test: $(STAMP)  ## the tests
	python -m pytest -n 2 --dist worksteal --durations=8 tests

lint: $(STAMP)  ## ruff, mypy, the import contract
	ruff check --output-format concise .
	ruff format --check .
	lint-imports
	mypy

bench: $(STAMP)  ## speed and memory against torch.nn, after the backends' tests (BENCH="--quick": under a minute)
	python benchmarks/run.py $(BENCH)

ui: $(STAMP)  ## MLflow's pages on http://127.0.0.1:5000 (PORT=... for another port)
	@mkdir -p mlruns/artifacts
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --host 127.0.0.1 --port $(PORT) --workers 1 \
	  --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlruns/mlflow.db}" \
	  --default-artifact-root "$(CURDIR)/mlruns/artifacts"

paper: $(STAMP)  ## the paper's experiments from our own trainings, docs/results.md, the studies (hours; TO=results: no studies)
	@python pipelines/repro.py --file paper/dvc.yaml $(TO)

pretrained: $(STAMP)  ## register the models that came with the code in MLflow: no data, no training, a minute
	@python pipelines/pretrained.py $(if $(filter take,$(ALIASES)),--take-aliases)

results: $(STAMP)  ## the paper's analyses and docs/results.md, from the models that are there under data/paper/
	@python pipelines/reproduce.py all
	@python pipelines/results.py

register: $(STAMP)  ## rebuild MLflow's registry from the files under data/, as after mlruns/ was deleted
	dvc repro -sf register

clean:  ## remove what the pipeline made and all caches; mlruns/ and .venv stay
	rm -rf data/*/ .scratch .dvc/cache .dvc/tmp dvc_plots .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
