# `make` prints this help. Each target makes its own virtual environment; nothing needs to be installed first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   := $(VENV)/.installed-demo
DOCS   := $(VENV)/.installed-docs
DEV    := $(VENV)/.installed-dev
STAMP  := $(VENV)/.installed
BYTECODE := $(VENV)/.compiled
RELEASE := $(VENV)/.installed-release
BENCH  := .venv-bench

.DEFAULT_GOAL := help
.PHONY: help demo docs lint format test ready programs adapters emulator coverage lives test-all bench layer layer-psutil clean
.PHONY: dist check-dist image publish-layer announce workflows
.PHONY: docs-too

help: ## print this help
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

# uv installs in a tenth of the processor time that pip takes. It reads none of pip's settings, a mirror for example: where
# it fails, pip has its turn.
define install
@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python $(1) || { \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1); }
endef

# The tools and the demo's server are enough for the demo and the layer (83 MB, half of it uv). Then the same environment
# gets what the rest needs, and for one of the tests CDK (240 MB).
$(VENV)/.made:
	@echo "installing into $(VENV), once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "snapext needs Python 3.11 or later: make PYTHON=/path/to/python3.12")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/programs $(PYTHON)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	@touch $@

$(DEMO): pyproject.toml | $(VENV)/.made
	$(call install,--group demo --editable '.[tools]')
	@touch $@

$(DOCS): pyproject.toml | $(VENV)/.made
	$(call install,--group docs)
	@touch $@

$(DEV): pyproject.toml | $(VENV)/.made
	$(call install,--group dev --editable '.[tools]')
	@touch $(DEMO) $(DOCS) $@

$(STAMP): $(DEV)
	$(call install,--group cdk)
	@touch $@

# uv leaves the compiling to the first import, which would be in a server under test. What no server imports stays so:
# aws_cdk alone would take a minute. Nor does each of the tests' processes compile the tests: one collects them before.
$(BYTECODE): $(STAMP)
	@mkdir -p build
	$(BIN)/python -m compileall -q -j 0 -x '/(aws_cdk|babel|cfnlint|fontTools|networkx|sympy|tests?)/' \
	  $(VENV)/lib/python3.*/site-packages src extension layer tests >build/compileall.log || true
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -q -p no:cacheprovider --collect-only tests >build/collect.log || \
	  { cat build/collect.log; exit 1; }
	@touch $@

demo: $(DEMO) ## two lives of a FastAPI app under gunicorn with 4 workers: without snapext, and with it
	@$(BIN)/python examples/demo/demo.py

docs: $(DOCS) ## write the docs site into build/site; a broken link, or a page that the menu lacks, is an error
	$(write_docs)

write_docs = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(DEV) ## ruff (lint and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: ## the whole gate, what CI runs: lint, and every test (ARGS='-k gate' passes arguments to pytest)
	$(MAKE) --no-print-directory -j --output-sync=line ready
ifdef ARGS
	$(MAKE) --no-print-directory coverage
	$(BIN)/python -m pytest $(ARGS)
else
	.ci/tests $(BIN)/python
endif

# Side by side: most of it waits for the network, or keeps one core busy. The adapters' build needs no environment.
ready: programs adapters emulator lint docs-too $(BYTECODE)

docs-too: $(DEV) # not `docs`: its own installation would run beside the one of all the rest
	$(write_docs)

programs:
	.ci/programs $(PYTHON)

adapters:
	.ci/e2e-tools $(PYTHON) adapters

emulator: | $(VENV)/.made
	.ci/e2e-tools $(BIN)/python emulator

coverage: $(DEV) ## branch coverage of the machines by the tests that play them event by event; it must not fall
	@mkdir -p build
	$(BIN)/coverage run -m pytest -q -p no:cacheprovider tests/unit/boundary tests/unit/wire
	$(BIN)/coverage report

lives: $(DEV) ## play forty lives with 30, 15 and 7 % of a CPU (ARGS=100: as many)
	$(BIN)/python -m tests.limited.limited_lives $(or $(ARGS),40)

dist/psutil: $(DEMO)
	for machine in x86_64 aarch64; do $(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps \
	  --dest $@ --only-binary :all: --python-version 3.12 --abi abi3 --platform manylinux2014_$$machine \
	  --platform manylinux_2_28_$$machine --platform manylinux_2_17_$$machine psutil; done

layer-psutil: dist/psutil ## the same with psutil for both processors in it
	$(MAKE) layer LAYER="$$(printf -- '--psutil %s ' dist/psutil/*.whl)"

layer: $(DEMO) ## write dist/snapext-layer.zip, precompiled for each Python from 3.12 to 3.14 that is found
	@mkdir -p dist
	$(BIN)/snapext layer build -o dist/snapext-layer.zip --force $(LAYER) \
	  $$(.ci/pythons 3.12 3.13 3.14 | sed 's/^/--precompile /')

$(RELEASE): pyproject.toml | $(DEMO)
	$(call install,--group release)
	@touch $@

dist: $(RELEASE) ## write what a release consists of into dist/release: wheel, source distribution, layer, checksums
	.ci/dist $(BIN)

check-dist: ## test what `make dist` has written, in a new environment (TAG=v0.2.0: and that it is fit for that release)
	.ci/check-dist $(PYTHON) $(TAG)

image: ## build/image out of dist/release: the layer's files as an image for COPY --from (NAME=…: push it)
	.ci/image $(PYTHON) $(NAME)

publish-layer: $(DEMO) ## publish dist/release's layer in REGION=eu-west-1, for all to use; its ARN is left in dist
	@test -n "$(REGION)" || { echo "which REGION?" >&2; exit 2; }
	$(BIN)/snapext layer publish --run --public --region "$(REGION)" --zip dist/release/snapext-layer.zip \
	  >"dist/layer-$(REGION).txt"
	@cat "dist/layer-$(REGION).txt"

announce: ## make the release TAG=v0.2.0 on GitHub, of dist/release and the layers' ARNs, by `gh`
	.ci/announce $(PYTHON) "$(TAG)"

workflows: ## check .github/workflows with actionlint, which Go builds, once
	.ci/actionlint

test-all: ## run the tests on each of Python 3.11 to 3.14 that is found
	.ci/test-all

# In an environment of its own: on Lambda it would be Python 3.12 or later, whatever the rest of us develops with.
$(BENCH)/.installed: pyproject.toml
	"$$(.ci/pythons 3.12 3.13 3.11 | head -n 1)" -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --group bench --editable '.[tools]'
	@touch $@

bench: $(BENCH)/.installed ## measure all, write docs/benchmarks.md (QUICK=1: rough, COMPARE=1: against it; both in build/)
	.ci/e2e-tools $(BENCH)/bin/python
	$(BENCH)/bin/python -m bench $(if $(QUICK),--quick) $(if $(COMPARE),--compare docs/benchmarks/results.json) \
	  $(if $(QUICK)$(COMPARE),-o build) $(ARGS)

clean: ## remove what the targets above made
	rm -rf .venv .venv-* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
