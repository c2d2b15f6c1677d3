# make setup   .venv with everything installed (second runs skip it)
# make demo    a study of the miniature world: did the feedback help? (two and a half minutes)
# make test    all tests          make quick   without the slow ones
# make check   formatting, lint, types, architecture
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.installed
# Where pip finds wheels that lie on this machine, uv finds them too.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# Otherwise every process of the tests compiles torch anew.
export UV_COMPILE_BYTECODE := 1
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: setup demo test quick check format clean

setup: $(DONE)
	@echo "setup: $(VENV) is ready"

$(DONE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tutelage needs Python 3.11 or newer, found %s; give make PYTHON=python3.11" % sys.version.split()[0])'
	@echo "setup: virtual environment $(VENV), then about 130 packages (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt
	$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[data,train,lora,plot,serve,dev]'
	@touch $(DONE)
	@echo "setup: made $(VENV); try $(BIN)/tutelage --help"

demo: setup
	$(BIN)/tutelage study miniature workers=2 out=demo artifacts=demo/artifacts

test: setup
	@echo "test: all tests on two processes; a few minutes"
	$(BIN)/python -m pytest -n 2 --dist worksteal
	@echo "test: passed"

quick: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/architecture
	@echo "check: passed"

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache
