# Two commands to know: `make demo` and `make test`. Both make a .venv on first use; PYTHON= picks the interpreter.
PYTHON ?= python3
JOBS ?= 2

VENV := .venv
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --disable-pip-version-check --no-build-isolation --constraint constraints.txt

# Runs a command without its output; where it fails, shows all of it and fails too.
# The log's name differs by target: `make -j` must not mix two of them.
quietly = @mkdir -p $(VENV)/log; echo "$(1)"; { $(2); } > $(VENV)/log/$(@F).txt 2>&1 || { cat $(VENV)/log/$(@F).txt; exit 1; }

# Two workers with one thread each use two cores; two workers whose libraries start a thread a core fight over them.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo test check lint types layers packaging bench references gpu clean distclean
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo    audit two models of the Adult data and write a report (core packages only)"
	@echo "make test    all tests; pytest's own options by PYTEST_ARGS='-k gate'"
	@echo "make check   ruff, mypy, import layers, packaging"
	@echo "make bench   speed and memory against their targets and against peers"
	@echo "make references   train the references on real data and write docs/references.md (hours)"
	@echo "make gpu     the tests and the benchmark that need a CUDA device"
	@echo "make clean   remove what builds and tools left; 'make distclean' removes .venv too"

# ---- the environment

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.13 ..."; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The build backend comes first and pinned, so that neither the editable install nor the packaging test fetches one.
$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/.made
	$(call quietly,installing Steelyard,$(INSTALL) setuptools && $(INSTALL) --editable .)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(call quietly,installing Steelyard and its development tools,$(INSTALL) setuptools && $(INSTALL) --editable '.[dev]')
	@touch $(VENV)/.core $@

# ---- what it does

demo: $(VENV)/.core
	@$(PY) examples/adult/demo.py

# A file of tests stays on one worker, so what its fixtures computed is computed once.
test: $(VENV)/.dev
	@$(ONE_THREAD) $(PY) -m pytest -q -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

check: lint types layers packaging
	@echo "check: all passed"

lint: $(VENV)/.dev
	$(call quietly,ruff,$(PY) -m ruff check . && $(PY) -m ruff format --check .)

types: $(VENV)/.dev
	$(call quietly,mypy,$(PY) -m mypy)

layers: $(VENV)/.dev
	$(call quietly,import layers,$(VENV)/bin/lint-imports)

packaging: $(VENV)/.dev
	$(call quietly,packaging,$(PY) -m pytest -q -p no:cacheprovider tests/house/test_packaging.py)

bench: $(VENV)/.dev
	@$(PY) benchmarks/run.py $(BENCH)

# Long, and resumable: what is known is not trained again. NAMES picks rows.
references: $(VENV)/.dev
	@$(ONE_THREAD) $(PY) scripts/references.py $(NAMES)

gpu: $(VENV)/.dev
	@$(PY) -m pytest -q -m gpu -rs
	@$(PY) benchmarks/run.py gpu

clean:
	@rm -rf build dist *.egg-info benchmarks/out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	@rm -rf $(VENV)
