PYTHON ?= python3
BIN := .venv/bin
# Most tests wait for brokers, so four files run at a time (make test WORKERS=6: six), started in
# the order of their names.
WORKERS ?= 4
ALL_TESTS := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# The newest versions for every platform and Python, with the hashes of all their files.
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes
LOCK += --custom-compile-command 'make lock'
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Images for CI often set it. The tests start busmon some hundred times, compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test coverage lint bench soak overload silence-report pages-report \
    timescaledb lock dashboards rules dashboard-picture picture clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' Makefile | expand -t 16

demo: .venv/runtime ## show busmon at work on made-up traffic; needs no broker and no configuration
	$(BIN)/busmon demo $(ARGS)

test: .venv/development ## run all tests on real brokers, or a part: ARGS=tests/rules; installs missing brokers
	tests/install-brokers
	$(BIN)/python -m tests.support.datagrepper # installs it
	$(BIN)/python -m tests.support.axe # downloads it
	$(BIN)/python -m tests.support.grafana_data # downloads it
	$(BIN)/python -m pytest $(or $(ARGS),$(ALL_TESTS))

coverage: ## run all tests, and print how much of busmon/ they run; takes longer
	$(MAKE) test ARGS="$(ALL_TESTS) --cov=busmon --cov-report=term:skip-covered"

lint: .venv/development ## check style, types, the Containerfile and what the tap needs of Python
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy config/prometheus
	$(BIN)/mypy config/grafana
	$(BIN)/vermin --quiet --no-tips --target=3.9- --violations busmon/tap/busmon_tap.py
	$(BIN)/hadolint Containerfile

bench: .venv/development ## compare speed and memory with other clients, 1 hour (ARGS="amqp --scale 0.1")
	tests/install-brokers
	$(BIN)/python -m tests.bench $(ARGS)

soak: .venv/development ## cause faults at random and check every count, 80 minutes (ARGS="--minutes 5 --kills 20")
	tests/install-brokers
	$(BIN)/python -m tests.soak $(ARGS)
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest --timeout=0 tests/faults/test_fuzz*.py

overload: .venv/development ## publish five times what busmon can receive, 25 minutes (ARGS="--minutes 1")
	tests/install-brokers
	$(BIN)/python -m tests.faults.overload $(ARGS)

silence-report: .venv/development ## simulate a year: how soon is an outage found, with how many false alarms
	$(BIN)/python -m tests.silence.simulation.report $(ARGS)
	$(BIN)/python -m tests.silence.simulation.first_weeks $(ARGS)
	$(BIN)/python -m tests.silence.simulation.past

pages-report: .venv/development ## simulate years of causes: who is woken up by what, and what is missed
	$(BIN)/python -m tests.deploy.year.report $(ARGS)

timescaledb: .venv/development ## run the archive's tests on a real TimescaleDB, and more on PostgreSQL 17, 5 minutes; as root on Debian
	tests/install-brokers
	$(BIN)/python -m tests.support.datagrepper
	$(BIN)/python -m tests.support.brokers.timescaledb # downloads 100 MB, once
	TEST_TIMESCALEDB=1 $(BIN)/python -m pytest $(or $(ARGS),tests/archive tests/*/test_database*)

lock: ## update config/requirements*.txt, the versions and hashes in the image
	$(PYTHON) -m venv --clear .cache/lock
	.cache/lock/bin/python -m pip install --quiet uv
	.cache/lock/bin/uv pip compile $(LOCK) $(addprefix --extra ,celery postgresql schemas sentry) \
	    pyproject.toml --output-file config/requirements.txt
	printf '%s\n' hatchling setuptools | .cache/lock/bin/uv pip compile $(LOCK) - \
	    --output-file config/requirements-build.txt

dashboards: .venv/development ## build the JSON of the dashboards from config/grafana/*.py
	$(BIN)/python config/grafana/build.py

rules: .venv/development ## build the rules of Prometheus from config/prometheus/*.py
	$(BIN)/python config/prometheus/build.py $(ARGS)

dashboard-picture: .venv/development ## draw config/grafana/bus.png: the dashboard, from four hours of a real busmon
	tests/install-brokers
	$(BIN)/python -m tests.deploy.picture

picture: .venv/development ## draw the picture of the README: the first page of the demo, in Chromium
	tests/install-brokers
	$(BIN)/python -m tests.web.picture

clean: ## delete everything that was made here
	rm -rf .venv .cache .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Updated when pyproject.toml or the version changes. The installation is editable: it uses busmon/ directly.
.venv/runtime: pyproject.toml busmon/__init__.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' # the first to know --group
	$(BIN)/python -m pip install --quiet --editable '.[schemas]'
	touch $@

.venv/development: .venv/runtime
	$(BIN)/python -m pip install --quiet --group test --group lint
	touch $@
