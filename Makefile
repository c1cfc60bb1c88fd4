# Every command sets up what it needs in a local .venv. CI calls the same targets.
PYTHON ?= python3
CHROMIUM ?= chromium
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready

SAY    := echo "clbench is installed in $(VENV). Call $(BIN)/clbench, or run '. $(BIN)/activate' and then clbench."

.PHONY: help setup bench leaderboard leaderboard-picture test test-slow check docs format speed speed-peers clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/: .*##/\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "clbench needs Python >= 3.11; call make with PYTHON=python3.11"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

setup: $(STAMP)  ## install clbench and its tools into .venv
	@$(SAY)

bench: $(STAMP)  ## run the default matrices (split-digits, without and with task labels) to a leaderboard
	$(BIN)/clbench run split-digits-task --jobs auto --out results/split-digits
	$(BIN)/clbench run split-digits --jobs auto --out results/split-digits
	@$(SAY)

leaderboard: $(STAMP) ## the website of all committed results in docs/leaderboard
	$(BIN)/clbench site baselines -o docs/leaderboard

leaderboard-picture: leaderboard ## the picture of that website in the README, with chromium
	$(CHROMIUM) --headless --hide-scrollbars --virtual-time-budget=10000 --window-size=1400,860 \
		--screenshot=$(CURDIR)/docs/pictures/site.png "file://$(CURDIR)/docs/leaderboard/index.html#benchmark=split-cifar10-online-3"

test: $(STAMP)   ## the test suite
	$(BIN)/python -m pytest -n 2

test-slow: $(STAMP) ## the long proofs, which the test suite leaves out
	$(BIN)/python -m pytest -n 2 -m slow

check: $(STAMP)  ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)   ## the docs site in docs/_build/html, with warnings as errors
	$(BIN)/python docs/_ext/stage.py docs/_build/source
	$(BIN)/python -m sphinx -W -n --keep-going -q -c docs -d docs/_build/doctrees docs/_build/source docs/_build/html
	@rm -rf docs/_build/html/leaderboard
	$(BIN)/python docs/_ext/check_site.py docs/_build/html
	@test ! -d docs/leaderboard || cp -R docs/leaderboard docs/_build/html/leaderboard
	@echo "open docs/_build/html/index.html"

format: $(STAMP) ## let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

speed: $(STAMP)  ## ours against the bare PyTorch loop, as ratios
	$(BIN)/python benchmarks/speed/compare.py

speed-peers: $(STAMP) ## ours against avalanche-lib, as ratios
	$(BIN)/python benchmarks/speed/peers.py

clean:           ## remove the environment, results and the built docs
	rm -rf $(VENV) results docs/_build docs/leaderboard
