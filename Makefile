# costlab: every target runs in .venv, which the first one sets up.

PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/ready

.PHONY: latency networks collect help report test quick lint soak verdicts bench experiments clean docs notebooks

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

report: $(READY)  ## set up and report on mobilenet_v2
	@$(BIN)/costlab report mobilenet_v2

test: $(READY)  ## set up and run the tests
	@echo "costlab: running the tests"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

quick: $(READY)  ## set up and run the tests that are not slow
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

lint: $(READY)  ## check style, types and import layers
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: $(READY)  ## regenerate docs/cli.md and build the site: build/site/index.html
	@$(BIN)/python docs/generate/cli_page.py && $(BIN)/python docs/generate/configuration_schema.py && NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -f .mkdocs.yml

soak: $(READY)  ## try every model of every provider, random networks and fuzzed inputs; writes docs (takes minutes)
	@$(BIN)/python tests/soak/coverage.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/soak/reliability.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/soak/sweeps.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/soak/canary.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/soak/libraries.py

verdicts: $(READY)  ## regenerate docs/guidelines.md and docs/verdicts.md
	@$(BIN)/python tests/soak/verdicts.py

bench: $(READY)  ## compare speed and accuracy with other counters; writes docs/benchmarks.md (ten minutes, on an idle machine)
	@OMP_NUM_THREADS=1 $(BIN)/python tests/bench/benchmark.py

experiments: $(READY)  ## run the paper's experiments on this machine; writes docs/experiments (DEVICE=cuda, PREDICT_FOR=NAME; SAVED=1: only predict again)
	@$(BIN)/python tests/bench/experiments.py --device $(or $(DEVICE),cpu) $(if $(PREDICT_FOR),--predict-for $(PREDICT_FOR)) $(if $(SAVED),--saved)

collect: $(READY)  ## measure everything that a lent GPU is asked for; writes docs/latency/CARD (ten minutes)
	@$(BIN)/python tests/bench/collect.py --device $(or $(DEVICE),cuda)

notebooks: $(READY)  ## run the notebooks and save their outputs (takes minutes, on an idle machine)
	@$(BIN)/python docs/generate/notebook_pages.py

latency: $(READY)  ## compare predictions with the published throughput in TABLES=DIR; writes docs/latency.md (takes minutes)
	@test -n "$(TABLES)" || { echo "latency needs the folder of the tables: make latency TABLES=DIR" >&2; exit 2; }
	@$(BIN)/python tests/bench/latency.py --tables $(TABLES) --page docs/latency.md

networks: $(READY)  ## calibrate this machine (one thread) and compare 40 measured networks with the prediction; writes docs/latency
	@$(BIN)/costlab calibrate --threads 1 && $(BIN)/python tests/bench/networks.py

clean:  ## remove .venv and build outputs
	rm -rf .venv build *.egg-info

$(READY): pyproject.toml constraints.txt
	@echo "costlab: setting up .venv (once; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
