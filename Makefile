# Two commands on a fresh machine: `make run` trains, `make test` checks. `make` lists the others.

PYTHON ?= python3
# what `make run` trains: the model of the lecture
ARGS ?= model.emb=10 model.hidden=200
# what `make lock` begins with; `make lock TORCH=torch==X` moves the pin
TORCH ?= $(shell grep '^torch==' requirements.lock)
EXTRAS := nplm,dev
# what `make dashboard` shows; a server's password: PGPASSWORD or ~/.pgpass
STORAGE = sqlite:///outputs/studies.db
# Debian packages that tests need under CI=1
CI_PACKAGES := chromium

# the tests start some 300 Pythons, which would compile src anew each time: 0.1 to 0.2 s of each
unexport PYTHONDONTWRITEBYTECODE
# and wait for the disk at each commit and checkpoint: a loop of faults took 72 s with 5 ms an fsync,
# 40 s in memory, which is taken where 2 GB of it are free
export PYTEST_DEBUG_TEMPROOT := $(shell \
  test "$$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 2000000 2>/dev/null && echo /dev/shm)

# pytest's -m: what belongs to every change; make test leaves the system's tests out (pyproject.toml)
EVERY := not slow and not faults and not postgres and not slurm
# of the sweeper and of what it takes from Hydra; what is lost of files and databases is none of it
SWEEPER_TESTS := $(addprefix tests/,$(addprefix sweepmore/,compose sweep study storage process \
  test_values.py) scripts/test_train_sweeps.py scripts/test_bad_input.py)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed

.PHONY: help setup run test test-all test-system test-hydra14 test-slow test-faults test-postgres \
  test-slurm bench bench-full lock audit dashboard clean ci-packages

help:
	@echo "make run        set up, then train on names for about a minute"
	@echo "make test       set up, then tests, ruff and mypy: two minutes"
	@echo "make test-all   these, real sweeps, browsers and pages, and the next Hydra: fifteen"
	@echo "make test-slow  the tests that train for minutes"
	@echo "make test-postgres  several machines, against a PostgreSQL server that the tests start"
	@echo "make test-slurm sweeps on a Slurm of one node, started here; as root, with slurm-wlm and munge"
	@echo "make test-faults faults at every point where something is written, kills, races, fuzzing"
	@echo "make bench      benchmarks/RESULTS.md anew"
	@echo "make bench-full the same with whole studies, and the stock sweeper in its own venv"
	@echo "make setup      .venv with the locked dependencies and this project, editable"
	@echo "make lock       requirements.lock anew from the ranges in pyproject.toml"
	@echo "make audit      known holes in the locked dependencies, as PyPI tells them"
	@echo "make dashboard  the studies of outputs/ in a browser"
	@echo "make clean      remove .venv and caches; outputs/ stays"

setup: $(STAMP)

# torch by itself first: once it is there, no other package's range can bring in another build
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	  "Python 3.11 or newer is needed, this is %d.%d: make PYTHON=/path/to/python3.11" % v[:2])'
	@echo "Installing into $(VENV): a few minutes, once"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet "$$(grep '^torch==' requirements.lock)"
	@$(PIP) install --quiet --requirement requirements.lock --editable '.[$(EXTRAS)]'
	@touch $@

run: setup
	@$(BIN)/python train.py $(ARGS)
	@echo
	@echo "Now:  . $(BIN)/activate"
	@echo "      python train.py experiment=quick    the same model in seconds"
	@echo "      python sample.py explain=emma       what it predicts, token by token"

# what a person runs after each change
test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# and what belongs to every change: the first, whole programs, the other Hydra
test-all: test test-system test-hydra14

test-system: setup
	@$(BIN)/python -m pytest -m 'system and $(EVERY)' -n 2 --dist loadfile --no-loadscope-reorder

test-slow: setup
	@$(BIN)/python -m pytest -m slow

test-postgres: setup
	@$(BIN)/python -m pytest -m postgres

test-slurm: setup
	@$(BIN)/python -m pytest -m slurm tests/servers/test_slurm.py

# the same environment but for Hydra: the second finds in the first what it does not have itself
HYDRA14 := .venv-hydra14
$(HYDRA14)/.installed: requirements-hydra14.lock $(STAMP)
	@$(PYTHON) -m venv $(HYDRA14)
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" \
	  % sysconfig.get_path("purelib"))' > \
	  "$$($(HYDRA14)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/base.pth"
	@$(HYDRA14)/bin/python -m pip --disable-pip-version-check install --quiet \
	  --requirement requirements-hydra14.lock
	@touch $@

test-hydra14: setup $(HYDRA14)/.installed
	@$(HYDRA14)/bin/python -m pytest -m '$(EVERY)' -n 2 --dist loadfile \
	  --no-loadscope-reorder $(SWEEPER_TESTS)

test-faults: setup
	@$(BIN)/python -m pytest -m 'faults or properties' -n 2 --dist load --maxschedchunk 1 \
	  --hypothesis-profile=faults

bench: setup
	@$(BIN)/python -m benchmarks

bench-full: setup
	@$(BIN)/python -m benchmarks --full

# freezes a fresh environment; a local version (+cpu) names a build that other machines may not have
lock:
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	"$$fresh/bin/python" -m pip install --quiet '$(TORCH)'; \
	"$$fresh/bin/python" -m pip install --quiet '.[$(EXTRAS)]'; \
	"$$fresh/bin/python" -m pip freeze --exclude sweepmore > "$$fresh/frozen"; \
	{ echo '# What was tested: Python 3.11, CPU. Written by `make lock`; ranges: pyproject.toml.'; \
	  sed 's/^\([^+]*\)+.*/\1/' "$$fresh/frozen"; } > requirements.lock
	@git --no-pager diff --stat -- requirements.lock

# --strict: what could not be looked up is an error, else it would count as harmless
audit:
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	"$$fresh/bin/python" -m pip --disable-pip-version-check install --quiet pip-audit; \
	"$$fresh/bin/pip-audit" --strict --no-deps --disable-pip --progress-spinner off \
	  --requirement requirements.lock || { echo; \
	  echo "Not clean, or not audited: 'not found on PyPI' means that the index of this network"; \
	  echo "has the packages but not PyPI's advisories. Run it where those are reached."; \
	  exit 1; }

dashboard: setup
	@test '$(STORAGE)' != sqlite:///outputs/studies.db -o -f outputs/studies.db || \
	  { echo "No study yet: python train.py -m … begins one."; exit 2; }
	@mkdir -p outputs/artifacts
	@$(BIN)/optuna-dashboard --host 127.0.0.1 --artifact-dir outputs/artifacts '$(STORAGE)'

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find benchmarks src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# only CI may change the machine
ifeq ($(CI),1)
test test-system test-hydra14 test-slow test-faults test-postgres test-slurm: | ci-packages
test-postgres: CI_PACKAGES := postgresql
test-slurm: CI_PACKAGES := slurm-wlm munge
endif
ci-packages:
	@$(if $(CI_PACKAGES),apt-get update -qq && apt-get install -y -qq --no-install-recommends $(CI_PACKAGES),:)
