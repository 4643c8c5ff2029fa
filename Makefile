# `make reproduce` and `make test`. Both set up .venv first, once; `make CPU=1 …` sets it up without what only a GPU needs.
PROFILE ?= smoke
STORE ?= _build/store
PYTHON ?= python3
CPU ?=
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Notebooks run in their own folder, so they need the store's whole path; it may hold spaces, which make's own functions break at.
WHOLE_STORE = $(shell $(BIN)/python -c "import pathlib, sys; print(pathlib.Path(sys.argv[1]).absolute().as_posix())" "$(STORE)")

# Pages run in this environment's kernel, also where the user has another one named python3.
export JUPYTER_PREFER_ENV_PATH := 1

.PHONY: reproduce book test lint unit gpu pages notebooks bench campaign lock metadata clean

reproduce: $(STAMP)
	$(BIN)/kdnb run --profile $(PROFILE) --store "$(STORE)"
	$(BIN)/kdnb table --profile $(PROFILE) --store "$(STORE)" --claims
	$(BIN)/kdnb reproduce --profile $(PROFILE) --store "$(STORE)"

# The book from the results that come with it.
book: $(STAMP)
	$(BIN)/jupyter-book build . -q -W -n --keep-going
	@echo "read _build/html/index.html"

test: lint unit pages

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A file's tests stay in one process, and share what its fixtures have trained. Files keep their order: those with the fewest
# tests, which would come last, are among the longest.
unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p tests.skips -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 25

# What holds only on a CUDA device, and is no part of `make test`.
gpu: $(STAMP)
	$(BIN)/python -m pytest tests/cuda.py

# Every notebook's stored outputs against fresh ones. The page that trains takes as long as half of the others: it comes first.
TRAINS := notebooks/run.ipynb
READS := $(filter-out $(TRAINS),$(wildcard notebooks/*.ipynb))
pages: $(STAMP)
	OMP_NUM_THREADS=1 KDNB_STORE="$(WHOLE_STORE)" $(BIN)/python -m pytest -p tests.skips -c .ci/pages.ini --rootdir . -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(TRAINS) $(READS)

# After a page's text or code was changed: its notebook, with fresh outputs.
notebooks: $(STAMP)
	KDNB_STORE="$(WHOLE_STORE)" $(BIN)/python book/execute.py $(PAGES)

bench: $(STAMP)
	$(BIN)/python benchmarks/training.py

campaign: $(STAMP)
	$(BIN)/python benchmarks/campaign.py

# Both locks: requirements-cpu.txt is requirements.txt without what only a GPU needs.
lock: $(STAMP)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-index-url \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.txt
	$(BIN)/python .ci/cpu.py requirements.txt requirements-cpu.txt

# What archives and hosts read, after CITATION.cff, the version or the repository's address in _config.yml was changed.
metadata: $(STAMP)
	$(BIN)/python .ci/metadata.py

$(STAMP): requirements.txt requirements-cpu.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("kdnb needs Python 3.11 or newer; this is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
ifeq ($(CPU),)
	$(PIP) -r requirements.txt
else
	$(PIP) -c requirements.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend cpu -r requirements-cpu.txt
endif
	$(PIP) --no-deps --no-build-isolation -e .
	$(BIN)/python -c 'open("$(STAMP)", "w").close()'

clean:
	rm -rf $(VENV)
