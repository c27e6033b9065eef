# make demo            speech -> token files -> speech, with the models inside the package
# make test            lint and the tests of the package
# make test-recipes    the tests of recipes and of the lease, as a shell runs them
# make kill            every verb killed at random moments, KILLS=50 times each, and run again
# make test-quick      unit tests that are not slow, for the daily loop
# make lint            ruff, mypy --strict, shellcheck
# make lease-rehearsal training on a borrowed card, rehearsed on the CPU (egs/speech24k/codec/lease.sh)
# make fuzz            damaged files of every kind for FUZZ_SECONDS (600), from FUZZ_SEED (the time) on
# make test-baselines  parity against encodec and torchaudio, in an environment of its own (5 GB)
# make docs            the site, build/docs/html: every page, command and Python name, with its links checked
# make samples         the samples page of both models beside Opus and Codec2, which make docs puts on the site
# make release-check   wheel and source distribution: metadata, sizes, README, installed where nothing else is
# make clean           remove what the targets above wrote, except the environments and anyone's exp/
# make distclean       ... and the environments
#
# PYTHON=python3.12 chooses the interpreter; PIP_ARGS goes to every pip install; PYTEST_ARGS to pytest; JOBS says how
# many processes run the tests, a few GB each; 0 is for pytest's --pdb.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BASELINES_VENV ?= .venv-baselines
RELEASE_VENV ?= .venv-release
PIP_ARGS ?=
PYTEST_ARGS ?=
REHEARSAL_ARGS ?=
JOBS ?= 2
KILLS ?= 50

BIN := $(VENV)/bin
INSTALL = -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
TEST_OPTIONS = -rs -n $(JOBS) --dist loadfile --ignore=tests/parity/baselines
SCRIPTS = $(shell find recipes egs -name '*.sh' -type f | sort) .ci/run
DEMO_AUDIO := egs/mini/codec/local/audio
DOCS := build/docs

# OpenMP threads that spin while they wait cost more than they gain where cores are few.
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 2)
export GOMP_SPINCOUNT ?= 1000
# No run of ours may depend on what the caller's Python path holds.
unexport PYTHONPATH

.PHONY: demo test test-recipes test-quick fuzz kill lint lease-rehearsal test-baselines environment docs samples release-check clean distclean

environment: $(VENV)/.ready

# torch first: the one big download fails or succeeds before anything else is done. The demo needs no tools of developers.
$(VENV)/.usable: EXTRA := eval
$(VENV)/.ready: EXTRA := dev
$(VENV)/.usable $(VENV)/.ready: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is older than Python 3.10; say PYTHON=..."; exit 1; }
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing the pinned packages into $(VENV)"
	@$(BIN)/python $(INSTALL) -c constraints.txt torch
	@$(BIN)/python $(INSTALL) -c constraints.txt -e '.[$(EXTRA)]'
	@touch $@

demo: $(if $(wildcard $(VENV)/.ready),$(VENV)/.ready,$(VENV)/.usable)
	@rm -rf demo_out
	$(BIN)/audiocodec encode $(DEMO_AUDIO) -d demo_out/tokens
	$(BIN)/audiocodec decode demo_out/tokens -d demo_out/wav
	$(BIN)/audiocodec evaluate --reference $(DEMO_AUDIO) --estimate demo_out/wav --tokens demo_out/tokens -d demo_out/scores --per-file
	@echo "the same with speech_24k_residual at 3 kbps:"
	$(BIN)/audiocodec encode $(DEMO_AUDIO) -m speech_24k_residual --num-codebooks 4 -d demo_out/residual/tokens
	$(BIN)/audiocodec decode demo_out/residual/tokens -d demo_out/residual/wav
	$(BIN)/audiocodec evaluate --reference $(DEMO_AUDIO) --estimate demo_out/residual/wav --tokens demo_out/residual/tokens -d demo_out/residual/scores --per-file

# A file's tests stay together, because they share fixtures; each process has a core, and so one thread.
test: export OMP_NUM_THREADS := 1
test: lint
	$(BIN)/python -m pytest $(TEST_OPTIONS) -m 'not baselines and not recipe' $(PYTEST_ARGS)

kill: export OMP_NUM_THREADS := 1
kill: export AUDIOCODEC_KILLS := $(KILLS)
kill: $(VENV)/.ready
	$(BIN)/python -m pytest $(TEST_OPTIONS) tests/e2e/test_kills.py $(PYTEST_ARGS)

test-recipes: export OMP_NUM_THREADS := 1
test-recipes: $(VENV)/.ready
	$(BIN)/python -m pytest $(TEST_OPTIONS) -m recipe tests/e2e $(PYTEST_ARGS)

test-quick: export OMP_NUM_THREADS := 1
test-quick: $(VENV)/.ready
	$(BIN)/python -m pytest $(TEST_OPTIONS) -m 'not slow' tests/unit tests/golden $(PYTEST_ARGS)

fuzz: export OMP_NUM_THREADS := 1
fuzz: export FUZZ_SECONDS ?= 600
fuzz: export FUZZ_SEED ?= $(shell date +%s)000000
fuzz: $(VENV)/.ready
	$(BIN)/python -m pytest -s tests/fuzz $(PYTEST_ARGS)

# REHEARSAL_ARGS='--corpus DIR --python PROGRAM': audio of a corpus, another Python in place of the machine's.
lease-rehearsal: $(VENV)/.ready
	cd tests && $(abspath $(BIN))/python -m support.lease_rehearsal $(REHEARSAL_ARGS)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/shellcheck $(SCRIPTS)

$(BASELINES_VENV)/.ready: setup.cfg pyproject.toml
	@[ -x $(BASELINES_VENV)/bin/python ] && $(BASELINES_VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(BASELINES_VENV)
	@echo "installing torch 2.11, torchaudio and encodec into $(BASELINES_VENV)"
	@$(BASELINES_VENV)/bin/python $(INSTALL) -e '.[baselines]' pytest pytest-timeout hypothesis librosa
	@touch $@

test-baselines: $(BASELINES_VENV)/.ready
	$(BASELINES_VENV)/bin/python -m pytest -rs -m baselines tests/parity/baselines $(PYTEST_ARGS)

$(VENV)/.docs: $(VENV)/.ready
	@echo "installing what builds the site into $(VENV)"
	@$(BIN)/python $(INSTALL) -c constraints.txt -e '.[docs]'
	@touch $@

docs: export OMP_NUM_THREADS := 1
docs: $(VENV)/.docs
	@mkdir -p $(DOCS)/extra
	cd docs && $(abspath $(BIN))/python -m tools.stage ../$(DOCS)
	$(BIN)/sphinx-build -q -E -W --keep-going -c docs $(DOCS)/source $(DOCS)/html
	cd docs && $(abspath $(BIN))/python -m tools.links ../$(DOCS)/html

samples: $(if $(wildcard $(VENV)/.ready),$(VENV)/.ready,$(VENV)/.usable)
	@mkdir -p $(DOCS)/extra/samples
	$(BIN)/audiocodec compare --reference $(DEMO_AUDIO) -d $(DOCS)/compared --resume -m speech_24k \
	  -m speech_24k_residual@2 -m speech_24k_residual@4 -m speech_24k_residual@8 --against speech_24k \
	  --baseline reference opus-6 opus-12 codec2-1200 codec2-3200
	$(BIN)/audiocodec report $(DOCS)/compared -o $(DOCS)/extra/samples/report.html --examples 12 --title "audiocodec: samples" --force

# An environment of its own for the tools, and empty ones for what they check; .ci/release_check.py says what that is.
$(RELEASE_VENV)/.ready: setup.cfg constraints.txt
	@[ -x $(RELEASE_VENV)/bin/python ] && $(RELEASE_VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(RELEASE_VENV)
	@$(RELEASE_VENV)/bin/python $(INSTALL) -c constraints.txt build twine 'readme_renderer[md]'
	@touch $@

release-check: $(RELEASE_VENV)/.ready
	$(RELEASE_VENV)/bin/python .ci/release_check.py $(PIP_ARGS)

clean:
	rm -rf demo_out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis egs/mini/codec/data egs/mini/codec/exp
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(BASELINES_VENV) $(RELEASE_VENV)
