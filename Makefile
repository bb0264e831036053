# You need two commands on a fresh machine: `make run` trains, `make test` checks. `make` lists the rest.

PYTHON ?= python3
# what `make run` trains: the model of the lecture
ARGS ?= model.emb=10 model.hidden=200
# what `make lock` installs first; `make lock TORCH=torch==X` changes the pin
TORCH ?= $(shell grep '^torch==' requirements.lock)
EXTRAS := report,wandb,dashboard,submitit,postgres,lightning
# Debian packages that tests need under CI=1
CI_PACKAGES := chromium

# the tests start about 300 Pythons; each would compile src again, which takes 0.1 to 0.2 s
unexport PYTHONDONTWRITEBYTECODE
# they also wait for the disk at each commit and checkpoint: a loop of faults took 72 s with 5 ms per
# fsync and 40 s in memory, which is used if 2 GB of it are free
export PYTEST_DEBUG_TEMPROOT := $(shell \
  test "$$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 2000000 2>/dev/null && echo /dev/shm)

# pytest's -m for every change; make test also leaves out the system tests (pyproject.toml)
EVERY := not slow and not faults and not postgres and not slurm and not ray and not wandb and not gpu
# tests of the sweeper and of what it uses from Hydra, without those of lost files and databases
SWEEPER_TESTS := $(addprefix tests/,$(addprefix sweepmore/,compose sweep study storage process \
  test_values.py) scripts/test_train_sweeps.py scripts/test_bad_input.py)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed

.PHONY: help setup run test test-all test-system test-hydra14 test-slow test-faults test-postgres \
  test-slurm test-ray test-wandb test-gpu bench bench-full docs lock audit clean ci-packages

help:
	@echo "make run        set up, then train on names for about a minute"
	@echo "make test       set up, then tests, ruff and mypy: two minutes"
	@echo "make test-all   these, real sweeps, pages in browsers, and the next Hydra: fifteen"
	@echo "make test-slow  the tests that train for minutes"
	@echo "make test-postgres  several machines, with a PostgreSQL server that the tests start"
	@echo "make test-slurm sweeps on a one-node Slurm that the tests start; needs root, slurm-wlm and munge"
	@echo "make test-ray   sweeps on a Ray cluster that the tests start; needs root"
	@echo "make test-gpu   the same losses on a GPU, and workers that share one; skips where there is none"
	@echo "make test-wandb a round trip on W&B's service; needs WANDB_API_KEY"
	@echo "make test-faults faults at every point of writing, kills, races, fuzzing"
	@echo "make bench      measure benchmarks/RESULTS.md again"
	@echo "make bench-full the same with whole studies and the stock sweeper, in its own venv"
	@echo "make setup      create .venv with the locked dependencies and this project, editable"
	@echo "make docs       build the documentation site into site/"
	@echo "make lock       write requirements.lock again from the ranges in pyproject.toml"
	@echo "make audit      look up the locked dependencies' vulnerabilities on PyPI"
	@echo "make clean      remove .venv and caches; outputs/ stays"

setup: $(STAMP)

# torch first and alone, so that no other package's range brings in another build
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	  "You need Python 3.11 or newer, this is %d.%d: make PYTHON=/path/to/python3.11" % v[:2])'
	@echo "Installing into $(VENV): a few minutes, once"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet "$$(grep '^torch==' requirements.lock)"
	@$(PIP) install --quiet --requirement requirements.lock --editable '.[$(EXTRAS)]'
	@touch $@

run: setup
	@PATH="$(abspath $(BIN)):$$PATH" python train.py $(ARGS)
	@echo
	@echo "Now:  . $(BIN)/activate"
	@echo "      python train.py experiment=quick    train the same model in seconds"
	@echo "      python sample.py explain=emma       see what it predicts, token by token"

# run this after each change
test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# what every change must pass: make test, whole programs, the other Hydra
test-all: test test-system test-hydra14

test-system: setup
	@$(BIN)/python -m pytest -m 'system and $(EVERY)' -n 2 --dist loadfile --no-loadscope-reorder

test-slow: setup
	@$(BIN)/python -m pytest -m slow

test-postgres: setup
	@$(BIN)/python -m pytest -m postgres

test-slurm: setup
	@$(BIN)/python -m pytest -m slurm tests/servers/test_slurm.py

# -rs says, without a key, that nothing was tested
test-wandb: setup
	@$(BIN)/python -m pytest -rs -m wandb tests/servers/test_wandb_service.py

# -rs says, without a GPU, that nothing was tested
test-gpu: setup
	@$(BIN)/python -m pytest -rs -m gpu tests/servers/test_gpu.py

# a second venv with what its lock file adds, which finds all other packages in the first
define beside
@$(PYTHON) -m venv $(@D)
@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" \
  % sysconfig.get_path("purelib"))' > \
  "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/base.pth"
@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --requirement $<
@touch $@
endef

# the same environment except Hydra
HYDRA14 := .venv-hydra14
$(HYDRA14)/.installed: requirements-hydra14.lock $(STAMP)
	$(beside)

# and one with Ray, 350 MB, whose launcher asks for an older cloudpickle than joblib does
RAY := .venv-ray
$(RAY)/.installed: requirements-ray.lock $(STAMP)
	$(beside)

test-ray: setup $(RAY)/.installed
	@$(RAY)/bin/python -m pytest -m ray tests/servers/test_ray.py

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

docs: setup
	@$(BIN)/python tools/build_site.py

# freezes a fresh environment, without local versions (+cpu), which other machines may not have
lock:
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	"$$fresh/bin/python" -m pip install --quiet '$(TORCH)'; \
	"$$fresh/bin/python" -m pip install --quiet 'pip>=25.1'; \
	"$$fresh/bin/python" -m pip install --quiet --group dev '.[$(EXTRAS)]'; \
	"$$fresh/bin/python" -m pip freeze --exclude sweepmore > "$$fresh/frozen"; \
	{ echo '# What was tested: Python 3.11, CPU. Written by `make lock`; ranges: pyproject.toml.'; \
	  sed 's/^\([^+]*\)+.*/\1/' "$$fresh/frozen"; } > requirements.lock
	@git --no-pager diff --stat -- requirements.lock

# --strict: a failed look-up is an error; otherwise it would count as harmless
audit:
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	"$$fresh/bin/python" -m pip --disable-pip-version-check install --quiet pip-audit; \
	"$$fresh/bin/pip-audit" --strict --no-deps --disable-pip --progress-spinner off \
	  --requirement requirements.lock || { echo; \
	  echo "Vulnerable, or not audited: 'not found on PyPI' means that the index of this network"; \
	  echo "has the packages but not PyPI's advisories. Run it where you can reach PyPI."; \
	  exit 1; }

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find benchmarks src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# only CI may change the machine
ifeq ($(CI),1)
test test-system test-hydra14 test-slow test-faults test-postgres test-slurm test-ray: | ci-packages
test-postgres: CI_PACKAGES := postgresql
test-slurm: CI_PACKAGES := slurm-wlm munge
test-ray: CI_PACKAGES := iproute2
endif
ci-packages:
	@$(if $(CI_PACKAGES),apt-get update -qq && apt-get install -y -qq --no-install-recommends $(CI_PACKAGES),:)
