# Two commands: `make reproduce` and `make test`. Both set up .venv first, once.
PROFILE ?= smoke
STORE ?= _build/store
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
STAMP := $(VENV)/.installed

.PHONY: reproduce book test notebooks bench lock clean

reproduce: $(STAMP)
	$(BIN)/kdnb run --profile $(PROFILE) --store $(STORE)
	$(BIN)/kdnb table --profile $(PROFILE) --store $(STORE) --claims
	$(BIN)/kdnb reproduce --profile $(PROFILE) --store $(STORE)

# The book from the records that come with it.
book: $(STAMP)
	$(BIN)/jupyter-book build . -q -W -n --keep-going
	@echo "read _build/html/index.html"

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest
	KDNB_STORE=$(abspath $(STORE)) $(BIN)/pytest -c /dev/null --rootdir . -q -p no:cacheprovider --nbval --nbval-current-env \
	  --nbval-sanitize-with notebooks/sanitize.cfg notebooks

# After a page's text or code was changed: its notebook, with fresh outputs.
notebooks: $(STAMP)
	KDNB_STORE=$(abspath $(STORE)) $(BIN)/python book/execute.py $(PAGES)

bench: $(STAMP)
	$(BIN)/python benchmarks/training.py

lock: $(STAMP)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-index-url \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.txt

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("kdnb needs Python 3.11 or newer; this is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -c 'open("$(STAMP)", "w").close()'

clean:
	rm -rf $(VENV)
