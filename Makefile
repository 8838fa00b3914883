PYTHON ?= python3
BIN := .venv/bin
# Most tests wait for brokers: four files at a time, begun in the order of their names.
ALL_TESTS := -n 4 --dist loadfile --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test bench soak overload silence-report lint lock prometheusrule clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' Makefile

demo: .venv/runtime ## watch made-up buses: no broker, no configuration
	$(BIN)/busmon demo $(ARGS)

test: .venv/development ## run the tests on real brokers, which it installs if missing
	tests/install-brokers
	$(BIN)/python -m pytest $(or $(ARGS),$(ALL_TESTS))

bench: .venv/development ## measure speed and memory beside other clients, on real brokers
	tests/install-brokers
	$(BIN)/python -m tests.bench $(ARGS)

soak: .venv/development ## an hour of faults on all buses, each message counted (ARGS="--minutes 5 --kills 20")
	tests/install-brokers
	$(BIN)/python -m tests.soak $(ARGS)
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest --timeout=0 tests/faults/test_fuzz.py

overload: .venv/development ## ten minutes of five times what busmon takes (ARGS="--minutes 1")
	tests/install-brokers
	$(BIN)/python -m tests.faults.overload $(ARGS)

silence-report: .venv/development ## simulate a year: who finds an outage when, with how many false alarms
	$(BIN)/python -m tests.silence.simulation.report $(ARGS)

lint: .venv/development ## check style, types and the Containerfile
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/hadolint Containerfile

lock: ## write down the versions that the image is built with, the newest that fit
	rm -rf .cache/lock
	$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet '.[celery]' hatchling
	{ echo '# Made by `make lock`: the versions in the image.'; \
	    .cache/lock/bin/python -m pip freeze --exclude packit-service-busmon; } >config/constraints.txt

prometheusrule: ## wrap Prometheus's rules for its operator
	{ cat config/openshift/prometheusrule.header; \
	    for rules in config/prometheus/rules/*.yml; do \
	        sed '1,/^groups:/d; s/^./  &/' $$rules; \
	    done; } >config/openshift/prometheusrule.yaml

clean: ## remove all that was made here
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made again when pyproject.toml changes; the package itself is used where it lies.
.venv/runtime: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' # the first to know --group
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/development: .venv/runtime
	$(BIN)/python -m pip install --quiet --group test --group lint
	touch $@
