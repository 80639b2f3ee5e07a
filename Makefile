# The same three commands for people and for machines: `make demo`, `make test`, `make check`. `make help` lists all.
# Everything is installed into .venv beside this file, in the versions of constraints.txt. Only pip is used: it finds the
# build of torch that fits the machine. Paths are relative, so the folder may have blanks in its name.

# The first of these that is new enough; another one: make demo PYTHON=/path/to/python
CANDIDATES := python3 python3.12 python3.11 python3.13
PYTHON ?= $(firstword $(foreach name,$(CANDIDATES),$(shell \
  $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)) python3)
PY := .venv/bin/python
STAMP := .venv/installed
# Without compiling: pip would compile 350 MB of sources one by one, `compileall` does it on all cores.
PIP := $(PY) -m pip -qq --disable-pip-version-check install --no-compile -c constraints.txt
ARGS ?=
# Tests start hundreds of interpreters: none of them shall compile Joulegrid's own modules anew.
unexport PYTHONDONTWRITEBYTECODE
# Tests wait more than they compute, so that two files at a time suit two cores. WORKERS=0 runs them one by one. The order
# is ours: xdist's own puts files with few tests last, which here are the longest.
WORKERS ?= 2

# A .venv that was moved or copied knows another folder: its stamp is out of date.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(shell pwd -P))
.PHONY: $(STAMP)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint types layers setup clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile
	@echo "  PYTHON=python3.12 chooses the interpreter of a new .venv; ARGS='-k grid' goes to pytest."

demo: $(STAMP) ## Install what is missing, run studies/quickstart.yaml, show its table
	@echo "joulegrid run studies/quickstart.yaml" >&2
	@$(PY) -m joulegrid run studies/quickstart.yaml
	@echo "The report with its figures: $$(ls -td results/quickstart_*/report | head -1)"

test: $(STAMP) ## Run the tests: make test ARGS='-k grid'
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint types layers ## Lint, formatting, types, direction of imports; with -j 2 types beside the others

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(STAMP)
	$(PY) -m mypy

layers: $(STAMP)
	$(PY) -m pytest -q tests/test_layers.py

setup: $(STAMP) ## Only install

clean: ## Remove .venv, caches and builds; results stay
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `.venv/begun` exists while a new .venv is being filled. One that was left half-made, or has no working pip, is made anew;
# a working one is kept and brought up to date.
$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Joulegrid needs Python 3.11 or later; $(PYTHON) is: $$('$(PYTHON)' -V 2>&1)" >&2; \
	  echo "Install one, or name one: make $(firstword $(MAKECMDGOALS)) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@if [ -e .venv/begun ] || { [ -e $(STAMP) ] && [ "$$(cat $(STAMP))" != "$$(pwd -P)" ]; } \
	  || ! $(PY) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  echo "Making .venv with $(PYTHON)" >&2; \
	  "$(PYTHON)" -m venv --clear .venv || { \
	    echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    rm -rf .venv; exit 1; }; \
	  : > .venv/begun; \
	fi
	@echo "Installing into .venv: two to three minutes, 3.2 GB with a CPU build of torch" >&2
	@$(PIP) pip setuptools
	@$(PIP) --no-build-isolation -e '.[pytorch,figures,search,kernels,codecarbon,zeus,dev]'
	@# Zeus alone: of what it names, amdsmi stops Ray on every machine without AMD's library.
	@$(PIP) --no-deps zeus
	@$(PY) -m compileall -qq -j 0 .venv/lib || true  # templates of code are no code
	@rm -f .venv/begun
	@pwd -P > $(STAMP)
