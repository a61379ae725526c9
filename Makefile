# `make` lists the targets. On first use, each installs what it needs into .venv (scripts/setup.sh).
.PHONY: help app test test-long test-cluster test-export mutants pins pins-advance count lint format e2e bench accept docs wheel clean
.NOTPARALLEL:

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# A process of tests with the app and a browser takes about 1.5 GB.
JOBS := auto
MODELS := colorizer enlarge
SPREAD := $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --maxprocesses 4 --dist loadfile)
# HOST is used only if passed to make: some shells export it, and binding to that would expose the app to the network.
HOST_FLAG = $(if $(filter command,$(firstword $(origin HOST))),--host '$(HOST)')

help:
	@echo "make app        runs the app in the browser (PORT=7860 HOST=127.0.0.1 CHECKPOINTS=folder of your own models)"
	@echo "make test       runs all tests but the long ones (ARGS= for pytest, e.g. ARGS='tests/models -x'; JOBS=1 for one process)"
	@echo "make test-long  runs the long tests, which take minutes: runs killed at random, fuzzed input"
	@echo "make test-cluster  runs the tests with S3, Ray and Slurm's stand-in, all on this machine"
	@echo "make test-export  runs the tests of vflow export, with a page in the browser"
	@echo "make browser    builds a page in build/browser that draws in the browser alone (MODELS='colorizer enlarge')"
	@echo "make mutants    puts known faults into copies of the code, one by one, and checks that tests notice (hours; ARGS='--only crps')"
	@echo "make pins       compares what the code computes with an earlier commit (BASE=commit; else that of pins/base)"
	@echo "make pins-advance  makes the present commit of main the one to compare with, when a submission begins"
	@echo "make count      counts lines of code, and the files that a prediction, a click and a likelihood run through"
	@echo "make e2e        runs only the app's tests, including those in a browser"
	@echo "make lint       runs ruff and mypy;  make format  reformats the code"
	@echo "make bench      compares speed with other flow libraries"
	@echo "make accept     measures the promised figures and writes docs/RESULTS.md (ONLY='D A.shapes_bits' VFLOW_DATA=folder)"
	@echo "make docs       builds the site into build/site; links that lead nowhere are errors"
	@echo "make wheel      builds the wheel and tests it in a clean environment;  make clean  removes .venv and caches"

setup-%:
	@PYTHON='$(PYTHON)' sh scripts/setup.sh $*

app: setup-app
	@$(BIN)/vflow app $(HOST_FLAG) $(if $(PORT),--port '$(PORT)') $(if $(CHECKPOINTS),--checkpoints '$(CHECKPOINTS)')

test: setup-test
	@browser="$$(sh scripts/chromium.sh)" && VFLOW_CHROMIUM="$$browser" $(PYTEST) $(SPREAD) $(ARGS)

test-long: setup-test
	@$(PYTEST) -m long $(ARGS)

test-cluster: setup-test setup-test-cluster
	@$(PYTEST) -m cluster tests/cluster $(ARGS)

test-export: setup-test setup-test-export
	@browser="$$(sh scripts/chromium.sh)" && VFLOW_CHROMIUM="$$browser" $(PYTEST) -m export tests/pipelines tests/app $(ARGS)

browser: setup-app setup-onnx
	@for model in $(MODELS); do $(BIN)/vflow export --checkpoint "$$model" --output build/browser; done

mutants: setup-test
	@$(BIN)/python scripts/mutants.py $(ARGS)

pins: setup-test
	@$(BIN)/python -m scripts.pins $(BASE) $(ARGS)

pins-advance: setup-test
	@$(BIN)/python -m scripts.pins --advance

count: setup-test
	@$(BIN)/python scripts/count_lines.py $(ARGS)
	@browser="$$(sh scripts/chromium.sh)" && for use in predict click nats; do \
		VFLOW_CHROMIUM="$$browser" $(BIN)/python scripts/trace_files.py $$use; done

e2e: setup-test
	@browser="$$(sh scripts/chromium.sh)" && VFLOW_CHROMIUM="$$browser" $(PYTEST) $(SPREAD) tests/app $(ARGS)

lint: setup-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup-bench
	$(BIN)/python scripts/benchmark.py $(ARGS)

accept: setup-test setup-app setup-bench
	@browser="$$(sh scripts/chromium.sh)" && VFLOW_CHROMIUM="$$browser" $(BIN)/python scripts/accept.py $(if $(ONLY),--only $(ONLY))

docs: setup-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "python3 -m http.server --bind 127.0.0.1 --directory build/site 8000  # then http://127.0.0.1:8000"

wheel: setup-test
	@sh scripts/check_wheel.sh

clean:
	rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
