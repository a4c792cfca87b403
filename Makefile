# make run starts everything; make test runs the tests. Only Python (3.11 or newer) and make are needed.

SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
TEST_WORKERS ?= 3

.PHONY: run demo test lint format conformance compile uncompile bench sizes curves faults slow pressure soak clients hostile fuzz lock clean

run: $(VENV)/run.stamp
	@HITSTREAM_SHOW_TOKEN=1 exec $(BIN)/hitstream up

demo: $(VENV)/run.stamp
	@exec $(BIN)/hitstream demo

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m "not slow" -n $(TEST_WORKERS) --dist loadgroup $(PYTEST_ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

conformance: $(VENV)/dev.stamp
	$(BIN)/python -m tests.conformance.run $(CONFORMANCE_ARGS)

# The modules that decide about hits, by mypyc, beside their sources: once more after each change of those.
compile: $(VENV)/dev.stamp
	@COMPILE_INGEST=1 $(BIN)/python setup.py --quiet build_ext --inplace --build-lib build/compiled --build-temp build/compiled
	@echo "compiled: $$(cd ingest && echo *.so)"

uncompile:
	rm -rf ingest/*.so build/compiled build/mypyc

bench: $(VENV)/dev.stamp
	$(BIN)/python -m bench $(BENCH_ARGS)

# matplotlib is no locked dependency: only this needs it.
curves: $(VENV)/dev.stamp
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "matplotlib>=3.8"
	$(BIN)/python -m bench.curves $(CURVES_ARGS)

sizes: $(VENV)/dev.stamp
	$(BIN)/python -m bench.sizes $(SIZES_ARGS)

faults: $(VENV)/dev.stamp
	$(BIN)/python -m tests.faults $(FAULTS_ARGS)

slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow tests/faults tests/integration tests/contract tests/kafka $(PYTEST_ARGS)

pressure: $(VENV)/dev.stamp
	$(BIN)/python -m bench.pressure $(PRESSURE_ARGS)

soak: $(VENV)/dev.stamp
	$(BIN)/python -m bench.soak $(SOAK_ARGS)

clients: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow tests/clients $(PYTEST_ARGS)

hostile: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow tests/hostile $(PYTEST_ARGS)

# atheris is no locked dependency: it has no wheels for some systems, and then nothing is fuzzed.
fuzz: $(VENV)/dev.stamp
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "atheris>=2.3" || echo "atheris can't be installed here"
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

# The stamps make a second run start at once: packages are installed again only when the lock changed.
$(VENV)/venv.stamp:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) can't make virtual environments (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/run.stamp: requirements.lock pyproject.toml rules/_query.c $(VENV)/venv.stamp
	@echo "Installing the locked packages (some 200 MB, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp
	@echo "Installing the locked tools for tests"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# For developers, with uv: after a change of the dependencies in pyproject.toml.
lock:
	printf 'setuptools>=77\n' | uv pip compile pyproject.toml - --universal --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --no-annotate $(LOCK_ARGS) -o requirements.lock
	printf 'setuptools>=77\n' | uv pip compile pyproject.toml - --group dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements.lock $(LOCK_ARGS) \
		-o requirements-dev.lock
	printf 'setuptools>=77\n' | uv pip compile pyproject.toml - --extra cluster --universal --python-version 3.11 \
		--generate-hashes --no-header --no-emit-index-url --no-annotate -c requirements.lock $(LOCK_ARGS) \
		-o requirements-cluster.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
