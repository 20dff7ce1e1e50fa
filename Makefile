# Short names for what a developer does every day. `./baton` makes the environment; nothing here needs one beforehand.

PYTHON = $(or $(VIRTUAL_ENV),.venv)/bin/python
LOCK = uv export --frozen --all-extras --no-emit-project --no-header --no-annotate --quiet

.DEFAULT_GOAL := help
.PHONY: help check test demo bench coverage fuzz mutants fmt lock env

help:  ## Print this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check:  ## Format, lint, types, architecture, unit tests and docstring examples: what to run before a commit
	@./baton test tests/architecture tests/unit orchestrator workers plugin_sandbox

test:  ## The whole suite, exactly as CI runs it (.ci/run)
	@./baton test

demo:  ## The demo: three apps on real input
	@./baton demo

bench:  ## Every bench with --quick, or one: make bench NAME=steps
	@./baton bench $(or $(NAME),all) --quick

coverage: .runtime/coverage/made  ## Branch coverage of contracts, kernel and plugin_sandbox by their own tests, held by tests/branches/allowed.txt
	@.runtime/coverage/bin/python -m tests.branches

fuzz: .runtime/coverage/made  ## Readers of what others write under atheris: make fuzz NAME=journal SECONDS=60; NAME=all is the default
	@.runtime/coverage/bin/python -m tests.fuzz $(or $(NAME),all) --seconds $(or $(SECONDS),60)

# An environment beside .venv that measures: it sees what .venv holds, and has coverage and (where a wheel exists) atheris of its own.
.runtime/coverage/made: tests/branches/inside.py | env
	@rm -rf .runtime/coverage
	@uv venv --quiet --python $(PYTHON) .runtime/coverage && uv pip install --quiet --python .runtime/coverage/bin/python 'coverage>=7.10'
	@uv pip install --quiet --only-binary :all: --python .runtime/coverage/bin/python 'atheris>=3' || echo 'no wheel of atheris for this Python: make fuzz will skip'
	@site="$$(.runtime/coverage/bin/python -c 'import site; print(site.getsitepackages()[0])')" && \
	  $(PYTHON) -c "import site; print(site.getsitepackages()[0])" > "$$site/tests.pth" && \
	  cp tests/branches/inside.py "$$site/baton_branches_inside.py" && echo 'import baton_branches_inside' > "$$site/baton_branches_inside.pth"
	@touch $@

mutants: env  ## Faults that no test notices: make mutants NAME="scripts/claim delivery" (docs/explanation/mutants.md)
	@$(PYTHON) -m tests.mutation $(or $(NAME),hook_merge cancelling)

fmt: env  ## Format the tree and mend what the linter can mend by itself
	@$(PYTHON) -m ruff check --fix-only --quiet .
	@$(PYTHON) -m ruff format .

lock:  ## Resolve pyproject.toml into uv.lock, and export requirements.lock for where uv is missing
	@uv lock
	@{ echo '# The same as uv.lock, for pip. Made by `make lock`; not edited by hand.'; $(LOCK); } > requirements.lock.new
	@mv requirements.lock.new requirements.lock
	@{ echo '# What an image needs: requirements.lock without what only tests need. Made by `make lock`.'; $(LOCK) --no-dev; } > deploy/requirements.lock

env:
	@./baton test --version > /dev/null
