# `make demo` and `make test` work on a fresh machine: each makes .venv when it is missing.
# PYTHON=python3.13 chooses another interpreter, which gets an environment of its own (.venv-python3.13).

PYTHON ?= python3
VENV := .venv$(if $(filter python3,$(PYTHON)),,-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow browser walks notebooks mutants bench judge judge-mesh truth plans lint docs clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/costmodel show resnet50 --depth 1
	$(BIN)/costmodel solve resnet50 --over n --hw h100-sxm --fit h100-sxm --latency 10ms --crossover

test: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m slow

# With Debian's browser, where there is none yet; where it cannot be installed the tests say that they were skipped.
browser: $(READY)
	command -v chromium > /dev/null || { apt-get update -qq && apt-get install -y -qq chromium; } || echo "no browser here"
	$(BIN)/python -m pytest -q -s -m browser tests/report/test_page_browser.py tests/test_docs_browser.py

walks: $(READY)
	$(BIN)/python tests/walks/run.py

notebooks: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[notebooks]'
	$(BIN)/python tests/notebooks/run.py

mutants: $(READY)
	$(BIN)/python tests/mutants/run.py

bench: $(READY)
	$(BIN)/python -m pytest -q -s -m benchmark tests/benchmarks

COMPILER ?= xla-cpu
judge: $(READY)
	$(BIN)/python -m costmodel.bench.judged make $(COMPILER) tests/data/compilers
	$(BIN)/python -m costmodel.bench.judged page tests/data/compilers > docs/compilers.md

judge-mesh: $(READY)
	JAX_PLATFORMS=cpu $(BIN)/python -m costmodel.bench.mesh.judged make $(COMPILER) tests/data/sharding
	$(BIN)/python -m costmodel.bench.mesh.judged page tests/data/sharding docs/sharding.md

truth: $(READY)
	$(BIN)/python -m costmodel.bench.truth docs/measurements/runs > docs/truth.md

plans: $(READY)
	$(BIN)/python -m costmodel.bench.steps docs/measurements/runs > costmodel/hardware/training/a100-sxm-80gb.toml.new
	mv costmodel/hardware/training/a100-sxm-80gb.toml.new costmodel/hardware/training/a100-sxm-80gb.toml
	$(BIN)/python -m costmodel.bench.plans docs/measurements/runs > docs/plans.md

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

clean:
	rm -rf .venv* docs/_build
