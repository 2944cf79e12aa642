# Two commands do it all: `make reproduce` (PROFILE=smoke for a few minutes instead of an hour) and `make test`.
# Everything goes into .venv, or into the conda environment k2lib when that one is active.
# TORCH=cpu or TORCH=cu130 chooses a PyTorch build; one that is installed already is never replaced.
PROFILE ?= laptop
PYTHON ?= python3
TORCH ?=
NB ?=
MINUTES ?= 1

ifeq ($(CONDA_DEFAULT_ENV),k2lib)
BIN := $(CONDA_PREFIX)/bin
else
BIN := $(CURDIR)/.venv/bin
endif
READY := $(BIN)/.k2lib-ready
export PATH := $(BIN):$(PATH)

.PHONY: install reproduce read check test lab lint notebooks bands mutants fuzz constraints clean

install: $(READY)

$(READY): pyproject.toml constraints.txt ci/install.py
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 is needed: make PYTHON=python3.12")'
	$(PYTHON) ci/install.py --python $(BIN)/python --torch "$(TORCH)"
	@touch $@

reproduce: $(READY)
	k2 reproduce --profile $(PROFILE)

# The published pages and their report, drawn from data/results in seconds: nothing is trained.
read: $(READY)
	k2 reproduce --profile published

test: $(READY)
	ci/test.sh

# The fast half, for use while working: the linter, and the library's tests that train nothing.
check: $(READY)
	ci/check.sh

lab: $(READY)
	jupyter lab notebooks

lint: $(READY)
	ruff check .

# Draw the committed notebooks again and store them in their canonical form; NB="03 07" for some of them.
notebooks: $(READY)
	k2 notebooks $(NB)

# How far the smoke run's numbers may lie apart, from several seeds on each arithmetic: about two hours.
bands: $(READY)
	python -m k2lib.books.bands

# Eighty one-line faults, planted one by one in a copy: which does no test notice? Half an hour.
mutants: $(READY)
	python ci/mutants.py

# Mutated inputs against every place where the kit reads what it did not write; MINUTES for each of them.
fuzz: $(READY)
	K2_FUZZ_SECONDS=$$(( $(MINUTES) * 60 )) K2_FUZZ_SEED=$$(date +%s) python -m pytest -q -n auto -rP tests/fuzz

constraints: $(READY)
	python ci/constraints.py

clean:
	rm -rf artifacts build dist .pytest_cache .ruff_cache .hypothesis
	find k2lib tests ci notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
