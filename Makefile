# make quickstart   install into .venv, then train, measure, search and export on 5,000 real digits
# make test         install the test extra, run the tests (test-slow: the minutes-long ones)
#                   pages are tested in Chromium, where it is installed (apt-get install --no-install-recommends chromium)
# make peer         measure this project and the published once-for-all package in turn (1.5 h; ARGS=--short: minutes)
# make docs         the documentation as a site in site/, for a browser without a network
# make lint         ruff and mypy
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-slow peer lint format docs clean

quickstart: .venv/.installed-digits
	$(BIN)/ofa run configs/quickstart.yaml

test: .venv/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: .venv/.installed-test
	$(BIN)/python -m pytest -m slow

peer: .venv/.installed-test
	$(BIN)/python -m benchmarks.peer $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/.installed-%: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@

clean:
	rm -rf .venv build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
