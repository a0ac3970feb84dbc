# costlab: everything runs in .venv, which any of these targets sets up first.

PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/ready

.PHONY: latency networks help report test quick lint soak verdicts bench experiments clean docs notebooks

help:  ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

report: $(READY)  ## set up and report on mobilenet_v2
	@$(BIN)/costlab report mobilenet_v2

test: $(READY)  ## set up and run the tests
	@echo "costlab: running the tests"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

quick: $(READY)  ## set up and run the tests that are not slow
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

lint: $(READY)  ## style, types, direction of imports
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: $(READY)  ## write docs/cli.md anew and build the site: build/site/index.html
	@$(BIN)/python docs/generate/cli_page.py && NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -f .mkdocs.yml

soak: $(READY)  ## every model of every provider, random networks, fuzzed inputs; writes docs (takes minutes)
	@$(BIN)/python tests/soak/coverage.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/soak/reliability.py
	@OMP_NUM_THREADS=1 $(BIN)/python tests/soak/sweeps.py

verdicts: $(READY)  ## write docs/guidelines.md and docs/verdicts.md anew
	@$(BIN)/python tests/soak/verdicts.py

bench: $(READY)  ## time and accuracy beside other counters; writes docs/benchmarks.md (ten minutes, on a quiet machine)
	@OMP_NUM_THREADS=1 $(BIN)/python tests/bench/benchmark.py

experiments: $(READY)  ## the paper's experiments on this machine; writes docs/experiments (DEVICE=cuda, PREDICT_FOR=NAME)
	@$(BIN)/python tests/bench/experiments.py --device $(or $(DEVICE),cpu) $(if $(PREDICT_FOR),--predict-for $(PREDICT_FOR))

notebooks: $(READY)  ## run the notebooks and write what they show (minutes, on a quiet machine)
	@$(BIN)/python docs/generate/notebook_pages.py

latency: $(READY)  ## judge predictions by the published throughput in TABLES=DIR; writes docs/latency.md (takes minutes)
	@test -n "$(TABLES)" || { echo "latency: say where the tables are: make latency TABLES=DIR" >&2; exit 2; }
	@$(BIN)/python tests/bench/latency.py --tables $(TABLES) --page docs/latency.md

networks: $(READY)  ## calibrate this machine (one thread), measure 40 networks beside the prediction: docs/latency
	@$(BIN)/costlab calibrate --threads 1 && $(BIN)/python tests/bench/networks.py

clean:  ## remove what was set up
	rm -rf .venv build *.egg-info

$(READY): pyproject.toml constraints.txt
	@echo "costlab: setting up .venv (once; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
