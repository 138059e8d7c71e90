# Everything on a machine with git, make and Python >= 3.11:  make test,  make demo,  make bench,  make clean.
# The environment in .venv makes itself; a part of `make test` runs alone as make lint|types|rooms|unit|wheel|pythons.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1

FIT := import sys, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(FIT)' 2>/dev/null && echo "$$name" && break; done)
VENV ?= .venv
EXTRA ?= dev
READY := $(VENV)/.ready
FUZZ_SECONDS ?= 60
OTHER_PYTHONS := 3.12 3.13
CHECKED = $(wildcard src tests examples benchmarks fuzz)
SMOKE := import eis.msgbus as mb; bus = mb.MsgbusContext({"type": "memory"}); s = bus.new_subscriber("t"); \
	bus.new_publisher("t").publish({"n": 1}); assert s.recv(1000).meta_data == {"n": 1}; bus.close(); \
	import eii.msgbus as same; assert same.MsgbusContext is mb.MsgbusContext; import cfgmgr.config_manager; print("wheel: ok,", mb.__file__)

# Processes and signals on a busy machine: what fails is tried once more, said aloud; what fails twice fails.
AGAIN := echo '--- once more, only what failed'
FAILED := --last-failed --last-failed-no-failures none

# What the tests of the configuration manager talk to. Where it cannot be had, they are skipped, said aloud.
ETCD := command -v etcd >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { \
	install='apt-get install -y --no-install-recommends etcd-server'; \
	$$install >/dev/null 2>&1 || { apt-get update && $$install; } >/dev/null 2>&1; }; } || \
	echo '--- NO etcd HERE: what ConfigMgr does with it is NOT tested (apt-get install etcd-server)'

.PHONY: test demo bench peers plots torture fuzz clean environment lint types rooms unit wheel pythons functional $(OTHER_PYTHONS:%=python-%)

test: lint types rooms unit wheel pythons
	@echo "make test: all checks passed"

demo: $(READY)
	$(VENV)/bin/msgbus demo --seconds 10 --output demo-output

bench: peers
	$(VENV)/bin/python -m benchmarks
	$(VENV)/bin/python -m benchmarks.plots

# The other libraries that the benchmarks compare with. The table tells which could not be installed.
peers: $(READY)
	@grep -v '^#' benchmarks/requirements.txt | while read -r peer; do \
		$(VENV)/bin/python -m pip install -q -c constraints.txt "$$peer" || echo "--- $$peer cannot be installed here"; done

# The pictures in docs/images: of the newest results that are kept, and those that commands draw.
plots: $(READY)
	$(VENV)/bin/python -m benchmarks.plots
	$(VENV)/bin/python -m tests.docs.pictures

# Forty minutes of faults, which writes docs/reference/reliability.md; TORTURE="--seed 7 --scale 0.1" repeats a tenth.
torture: $(READY)
	$(VENV)/bin/python -m tests.reliability $(TORTURE)

# Each target for FUZZ_SECONDS; atheris is installed for it (Linux).
fuzz: $(READY)
	$(VENV)/bin/python -m pip install -c constraints.txt atheris
	mkdir -p .fuzz/decode .fuzz/native .fuzz/config
	for target in decode native config; do \
		$(VENV)/bin/python -m fuzz.$$target -max_total_time=$(FUZZ_SECONDS) .fuzz/$$target; done

clean:
	rm -rf .venv .venv-* .fuzz build dist demo-output htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find src tests examples benchmarks fuzz -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# --- the environment ---

environment: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'no Python >= 3.11 with venv and ensurepip found: install one, or say make PYTHON=...'; exit 1; }
	@echo "--- $(VENV): a new environment with $(PYTHON), one to two minutes the first time"
	'$(PYTHON)' -m venv $(VENV)
	$(VENV)/bin/python -m pip install -c constraints.txt hatchling editables
	$(VENV)/bin/python -m pip install -c constraints.txt --no-build-isolation -e '.[$(EXTRA)]'
	@touch $@

# --- the checks ---

lint: $(READY)
	@echo '--- lint'
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

types: $(READY)
	@echo '--- types'
	$(VENV)/bin/mypy $(CHECKED)
	$(VENV)/bin/mypy --platform win32 --cache-dir .mypy_cache/win32 src

rooms: $(READY)
	@echo '--- rooms'
	$(VENV)/bin/lint-imports

unit: $(READY)
	@$(ETCD)
	@echo '--- tests, with the branches of the core counted'
	$(VENV)/bin/coverage run -m pytest || { $(AGAIN); $(VENV)/bin/coverage run --append -m pytest $(FAILED); }
	$(VENV)/bin/coverage report --fail-under=100

wheel: $(READY)
	@echo '--- wheel: built from the source distribution, then used in an environment of its own'
	rm -rf dist .venv-wheel
	$(VENV)/bin/python -m build --no-isolation --outdir dist
	$(VENV)/bin/python -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install -c constraints.txt dist/*.whl
	.venv-wheel/bin/python -I -W error -c '$(SMOKE)'
	.venv-wheel/bin/msgbus --help >/dev/null

functional: $(READY)
	$(VENV)/bin/python -m pytest -m 'not once' || { $(AGAIN); $(VENV)/bin/python -m pytest $(FAILED); }

pythons: $(OTHER_PYTHONS:%=python-%)

# The last candidate is where pyenv keeps versions that are not on the PATH.
$(OTHER_PYTHONS:%=python-%): python-%:
	@found=; for candidate in python$* $(wildcard $(HOME)/.pyenv/versions/$*.*/bin/python$*); do \
		if "$$candidate" -c '$(FIT)' 2>/dev/null; then found="$$candidate"; break; fi; done; \
	if [ -z "$$found" ]; then echo '--- Python $*: not found, skipped'; exit 0; fi; \
	echo '--- tests under Python $*'; \
	$(MAKE) --no-print-directory PYTHON="$$found" VENV=.venv-$* EXTRA=test functional
