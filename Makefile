# The commands that people and scripts use; README.md says more of each.
# Each prepares what it needs: the virtual environment by devtools/bootstrap.py, the rest by the tool it starts.

PYTHON ?= python3
venv := .venv/bin/python
bootstrap = @command -v $(PYTHON) >/dev/null || { echo "DirectDriveX needs Python 3.11 or newer; $(PYTHON) is not on the PATH."; exit 1; }; \
	$(PYTHON) devtools/bootstrap.py

.PHONY: run test check trials bench load emulator messages

run:
	$(bootstrap) run
	@$(venv) manage.py prepare
	@exec $(venv) manage.py serve

test:
	$(bootstrap) dev
	@exec $(venv) -m devtools.run_tests

check:
	$(bootstrap) dev
	@exec $(venv) -m devtools.check

trials:
	$(bootstrap) dev
	@exec $(venv) -m devtools.trials

bench:
	$(bootstrap) dev
	@exec $(venv) -m bench

emulator:
	$(bootstrap) run
	@exec $(venv) -m devtools.emulator

load:
	$(bootstrap) dev
	@exec $(venv) -m devtools.load $(LOAD)

messages:
	$(bootstrap) dev
	@exec $(venv) -m devtools.messages
