# Chores. `make demo` and `make test` need a machine with Python 3.10+ and a C++ compiler, nothing else: scripts/bootstrap.sh
# installs what is missing. What was done is remembered in build/stamps, so that a second call is fast.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMPS := build/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Sanitizers want the memory map they were built for; some kernels randomize too much of it.
UNRANDOMIZED := $(shell setarch -R true 2>/dev/null && echo setarch -R)

PACKAGE_FILES := pyproject.toml CMakeLists.txt $(wildcard README.md cmake/*) \
  $(shell find cpp third_party python -type f -not -name '*.pyc' 2>/dev/null)

## help: this list
help:
	@sed -n 's/^## /  make /p' $(MAKEFILE_LIST)

## demo: build, install into .venv, and serve examples/demo.py on http://127.0.0.1:8000
demo: $(STAMPS)/package
	$(BIN)/python examples/demo.py

## test: every test there is; the Python tests come last
test:
	@bash scripts/test.sh

## venv: .venv with the build tools
venv: $(STAMPS)/venv

## build: compile the package and install it into .venv
build: $(STAMPS)/package

## asan: C tests and fuzz replay under AddressSanitizer and UndefinedBehaviorSanitizer
asan: $(STAMPS)/venv
	$(UNRANDOMIZED) cmake --workflow --preset asan

## tsan: C tests in which threads meet, under ThreadSanitizer
tsan: $(STAMPS)/venv
	$(UNRANDOMIZED) cmake --workflow --preset tsan

## asan-python: the Python tests of the extension, under AddressSanitizer and UndefinedBehaviorSanitizer
asan-python: $(STAMPS)/venv $(STAMPS)/extra-test
	$(UNRANDOMIZED) bash scripts/sanitized_python.sh address $(BIN)/python $(ARGS)

## tsan-python: the same, under ThreadSanitizer
tsan-python: $(STAMPS)/venv $(STAMPS)/extra-test
	$(UNRANDOMIZED) bash scripts/sanitized_python.sh thread $(BIN)/python $(ARGS)

## lint: ruff, formatting, and types
lint: ruff types

ruff: $(STAMPS)/extra-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMPS)/extra-test
	$(BIN)/mypy

## pytest: the Python tests, against the installed package
pytest: $(STAMPS)/package $(STAMPS)/extra-test
	$(BIN)/python -m pytest $(ARGS)

## conformance: testssl.sh against our TLS server, all of the Autobahn suite (wants a Python 2.7; CASES, SKIP, SIDE choose) against our WebSocket server and client; 10 to 20 minutes
conformance: $(STAMPS)/package
	@worst=0; for suite in testssl autobahn; do \
	  PY=$(BIN)/python bash tests/conformance/$$suite.sh || { code=$$?; [ $$worst -ne 0 ] && [ $$worst -ne 77 ] || worst=$$code; }; \
	done; exit $$worst

## format: ruff over the Python code, clang-format (if there) over C and C++
format: $(STAMPS)/extra-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@if command -v clang-format >/dev/null; then \
	  git ls-files '*.c' '*.h' '*.cpp' '*.hpp' | xargs clang-format -i; \
	else echo "clang-format is not installed: C and C++ were left alone"; fi

## docs: the site, into site/
docs: $(STAMPS)/package $(STAMPS)/extra-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html is ready"

## bench: the measurements of benchmarks/, 25 minutes; ARGS=--help for less and for more. The peers go to build/bench-venv
bench: $(STAMPS)/venv
	$(BIN)/python -m benchmarks $(ARGS)

## dist: source archive and wheel, into dist/
dist: $(STAMPS)/venv
	$(PIP) install build
	$(BIN)/python -m build --outdir dist

## clean: remove everything that was built, .venv too
clean:
	rm -rf build dist site $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv: scripts/bootstrap.sh scripts/requirements.py
	@bash scripts/bootstrap.sh venv $(VENV)
	@mkdir -p $(@D) && touch $@

# Without build isolation, in a folder that stays: only what changed is compiled again.
$(STAMPS)/package: $(STAMPS)/venv $(PACKAGE_FILES)
	@echo "== building pymongoose and installing it into $(VENV)"
	@$(PIP) install --no-build-isolation --config-settings=build-dir=build/package .
	@touch $@

$(STAMPS)/extra-%: $(STAMPS)/venv pyproject.toml
	@echo "== installing what '$*' needs into $(VENV)"
	@$(BIN)/python scripts/requirements.py $* > $(STAMPS)/$*.txt
	@$(PIP) install -r $(STAMPS)/$*.txt
	@touch $@

# A stamp without its environment says nothing.
ifeq ($(wildcard $(BIN)/python),)
.PHONY: $(STAMPS)/venv
endif

.PHONY: help demo test venv build asan asan-python tsan lint ruff types pytest conformance format docs bench dist clean
