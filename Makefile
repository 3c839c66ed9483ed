# Skerry's build. `make help` lists what people use; everything is safe to run again and does only what is missing.
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/bin:$(PATH)
STEP := tools/sh/step.sh
PIP  := .venv/bin/python -m pip --disable-pip-version-check --quiet
GO_VERSION_FLAGS := -trimpath -ldflags='-s -w'

# What runs Skerry on Debian and its kin: images from suites, EROFS files, the build network.
RUN_PACKAGES  := ca-certificates mmdebstrap debian-archive-keyring erofs-utils iptables iproute2 containernetworking-plugins
# What only the tests need: the race detector's C compiler, curl as a client that is not Go's, git for buf breaking, nft to look for rules that
# were left, top to be run in a terminal, runc for builds
# that are not isolated, and PostgreSQL as the database of larger installations.
TEST_PACKAGES := curl gcc libc6-dev git nftables postgresql procps runc

SDK_SOURCES := $(shell find sdk-python/src -name '*.py' -o -name py.typed 2>/dev/null)
TS_SOURCES  := $(shell find sdk-ts/src -name '*.ts' 2>/dev/null)
GO_SOURCES  := $(shell find cmd internal worker gateway imagebuilder -name '*.go' 2>/dev/null)

.PHONY: help
help: ## show this list
	@printf 'Skerry: run Python functions in sandboxes on your own machines.\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nV=1 shows the output of every step. PYTHON=... picks the Python of .venv.\n'

## Run

.PHONY: run
run: ## install what is missing, start skerryd and run the hello example
	@tools/sh/need.sh run
	@$(STEP) packages 'Debian packages' tools/sh/packages.sh $(RUN_PACKAGES)
	@$(MAKE) build base
	@tools/sh/start.sh
	@.venv/bin/skerry run examples/01_hello/hello.py

.PHONY: stop
stop: ## stop the skerryd that make run started, with its containers
	@bin/skerryd down

.PHONY: doctor
doctor: build ## list what this machine has and lacks
	@bin/skerryd doctor

## Build

.PHONY: build
build: bin/runsc bin/buildkitd bin/skerryd bin/skerry-bucket bin/.guest .venv/.sdk ## build the binaries into bin/ and the SDK into .venv
	@:

bin/runsc: tools/runsc/go.mod tools/runsc/go.sum
	@$(STEP) runsc 'runsc (gVisor, from tools/runsc; about two minutes once)' \
	  env CGO_ENABLED=0 go build -C tools/runsc $(GO_VERSION_FLAGS) -o $(CURDIR)/$@ gvisor.dev/gvisor/runsc
	@touch $@

bin/buildkitd: tools/buildkitd/go.mod tools/buildkitd/go.sum
	@$(STEP) buildkitd 'buildkitd (from tools/buildkitd; about three minutes once)' \
	  env CGO_ENABLED=0 go build -C tools/buildkitd $(GO_VERSION_FLAGS) -o $(CURDIR)/$@ github.com/moby/buildkit/cmd/buildkitd
	@touch $@

bin/s3server: tools/s3server/main.go tools/s3server/go.mod tools/s3server/go.sum
	@$(STEP) s3server 'S3 server for tests (from tools/s3server; about two minutes once)' \
	  env CGO_ENABLED=0 go build -C tools/s3server $(GO_VERSION_FLAGS) -o $(CURDIR)/$@ .
	@touch $@

bin/nats-server: go.mod go.sum
	@$(STEP) nats-server 'NATS server for tests' env CGO_ENABLED=0 go build $(GO_VERSION_FLAGS) -o $@ github.com/nats-io/nats-server/v2
	@touch $@

bin/skerryd: go.mod go.sum $(GO_SOURCES)
	@$(STEP) skerryd 'skerryd' env CGO_ENABLED=0 go build -trimpath -o $@ ./cmd/skerryd
	@touch $@

bin/skerry-bucket: go.mod go.sum $(GO_SOURCES)
	@$(STEP) skerry-bucket 'skerry-bucket' env CGO_ENABLED=0 go build $(GO_VERSION_FLAGS) -o $@ ./cmd/skerry-bucket
	@touch $@

bin/skerry-init: go.mod go.sum $(GO_SOURCES)
	@$(STEP) skerry-init 'skerry-init' env CGO_ENABLED=0 go build $(GO_VERSION_FLAGS) -o $@ ./cmd/skerry-init
	@touch $@

bin/.guest: bin/skerry-init $(SDK_SOURCES) .venv/.sdk tools/sh/runtime.sh
	@$(STEP) guest 'what containers get at /__skerry' tools/sh/runtime.sh bin/guest
	@touch $@

bin/protoc-gen-%: tools/codegen/go.mod tools/codegen/go.sum
	@$(STEP) $(@F) '$(@F)' go build -C tools/codegen -o $(CURDIR)/$@ $$(sed -n 's/^\t\(.*$(@F)\)$$/\1/p' tools/codegen/go.mod)
	@touch $@

bin/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	@$(STEP) golangci-lint 'golangci-lint (from tools/lint; about two minutes once)' \
	  env CGO_ENABLED=0 go build -C tools/lint -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

.venv/bin/python:
	@$(STEP) venv 'virtual environment .venv' tools/sh/venv.sh .venv

.venv/.sdk: sdk-python/pyproject.toml | .venv/bin/python
	@$(STEP) sdk 'SDK in .venv' $(PIP) install --constraint tools/requirements.txt --editable sdk-python
	@touch $@

.venv/.tools: tools/requirements.txt | .venv/bin/python
	@$(STEP) devtools 'tools of the checks in .venv' $(PIP) install --requirement tools/requirements.txt
	@touch $@

sdk-ts/node_modules/.made: sdk-ts/package.json sdk-ts/package-lock.json
	@$(STEP) npm 'packages of the TypeScript SDK in sdk-ts/node_modules' npm ci --prefix sdk-ts --no-fund --no-audit
	@touch $@

sdk-ts/dist/.made: sdk-ts/tsconfig.json sdk-ts/tsconfig.build.json sdk-ts/node_modules/.made $(TS_SOURCES)
	@$(STEP) build-ts 'TypeScript SDK' sh -c 'rm -rf sdk-ts/dist && npm run --silent --prefix sdk-ts build'
	@touch $@

.venv/.e2e: e2e/requirements.txt | .venv/bin/python
	@$(STEP) notebooks 'notebooks of the end-to-end tests in .venv' $(PIP) install --constraint tools/requirements.txt --requirement e2e/requirements.txt
	@touch $@

.PHONY: base
base: bin/skerryd bin/buildkitd bin/runsc
	@$(STEP) base 'base image (about two minutes once)' bin/skerryd base prepare

.PHONY: dist
dist: .venv/.sdk ## build the wheels of the SDK and of skerry-modal into dist/
	@$(STEP) dist 'wheels in dist/' sh -c 'rm -rf dist && $(PIP) wheel --no-deps --wheel-dir dist ./sdk-python ./sdk-python/compat'

.PHONY: clean
clean: ## remove what was built, but for the two pinned binaries and the caches
	rm -rf dist sdk-ts/dist bench/out bin/skerryd bin/skerry-bucket bin/skerry-init bin/guest bin/guest-* bin/.guest .cache/log .ruff_cache .pytest_cache sdk-python/build
	find . -name __pycache__ -not -path './.venv/*' -not -path './bench/.venv/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## remove everything that make made in this folder
	rm -rf bin .cache .venv bench/.venv sdk-ts/node_modules

## Test

.PHONY: test
test: ## checks, Go tests with the race detector, Python tests and end-to-end tests (as root)
	@tools/sh/need.sh test
	@$(STEP) packages 'Debian packages' tools/sh/packages.sh $(RUN_PACKAGES) $(TEST_PACKAGES)
	@tools/sh/test.sh build check test-go test-python test-ts test-e2e

.PHONY: test-full
test-full: ## the same at the sizes that are promised: maps of 100,000 inputs, 1 GiB payloads
	@SKERRY_TEST_FULL=1 $(MAKE) test

.PHONY: test-go
test-go: bin/runsc bin/buildkitd bin/skerry-bucket bin/s3server bin/nats-server bin/.guest testbase ## Go tests with the race detector
	@.venv/bin/python tools/gotest.py -race -timeout 20m ./...

.PHONY: test-python
test-python: .venv/.tools .venv/.sdk testbase
	@.venv/bin/python -m pytest -q sdk-python/tests

.PHONY: test-ts
test-ts: build base sdk-ts/dist/.made ## tests of the TypeScript SDK, those against a daemon included (as root)
	@npm run --silent --prefix sdk-ts test

.PHONY: test-e2e
test-e2e: build bin/s3server bin/nats-server .venv/.tools .venv/.e2e base
	@.venv/bin/python -m pytest -q e2e

.PHONY: testbase
testbase: .cache/test-base.erofs ## make the base file system that container tests start from

.cache/test-base.erofs: | base .venv/bin/python
	@$(STEP) testbase 'base file system for tests' .venv/bin/python tools/testbase.py $${SKERRY_BASES:-/var/lib/skerry/bases} $@

.PHONY: bench
bench: build base bin/s3server ## measure against floors and peers; table, and JSON in bench/out
	@$(STEP) bench-packages 'Debian packages' tools/sh/packages.sh $(RUN_PACKAGES) curl redis-server runc
	@$(MAKE) testbase bench/.venv/.made
	@.venv/bin/python -m bench

.PHONY: bench-compare
bench-compare: build base ## measure this tree against another revision, both in turn: make bench-compare REV=HEAD~1
	@.venv/bin/python -m bench.compare $(or $(REV),HEAD) --rounds $(or $(ROUNDS),10)

bench/.venv/.made: bench/requirements.txt | .venv/bin/python
	@$(STEP) bench-venv 'Ray and Celery in bench/.venv' sh -c 'tools/sh/venv.sh bench/.venv && bench/.venv/bin/python -m pip -q install -r $<'
	@touch $@

## Check

.PHONY: check
check: check-go check-python check-ts check-proto check-sh check-docs checkgenerate ## lint, types, formats, generated code and pages

.PHONY: check-go
check-go: bin/golangci-lint
	@$(STEP) lint-go 'golangci-lint' bin/golangci-lint run --allow-parallel-runners ./...
	@$(STEP) arch 'architecture rules' go test ./internal/arch

.PHONY: check-python
check-python: .venv/.tools .venv/.sdk .venv/.e2e
	@$(STEP) ruff 'ruff' .venv/bin/ruff check sdk-python examples e2e bench tools
	@$(STEP) ruff-format 'ruff format' .venv/bin/ruff format --check sdk-python examples e2e bench tools
	@$(STEP) pyright-sdk 'pyright sdk-python' .venv/bin/pyright --pythonpath .venv/bin/python --project sdk-python
	@$(STEP) pyright 'pyright' .venv/bin/pyright --pythonpath .venv/bin/python

.PHONY: check-ts
check-ts: sdk-ts/dist/.made
	@$(STEP) biome 'biome' npm run --silent --prefix sdk-ts lint
	@$(STEP) tsc 'tsc sdk-ts' npm run --silent --prefix sdk-ts types
	@$(STEP) package-ts 'package of the TypeScript SDK' npm run --silent --prefix sdk-ts check:package

.PHONY: check-proto
check-proto: .venv/.tools
	@$(STEP) buf 'buf lint and format' sh -c '.venv/bin/buf lint && .venv/bin/buf format --diff --exit-code'
	@$(STEP) buf-breaking 'buf breaking' tools/sh/breaking.sh

.PHONY: check-sh
check-sh: .venv/.tools
	@$(STEP) shellcheck 'shellcheck' .venv/bin/shellcheck tools/sh/*.sh .ci/run

.PHONY: check-docs
check-docs: .venv/.tools .venv/.sdk
	@$(STEP) check-docs 'generated pages of docs/ are current' .venv/bin/python -m tools.docs --check

.PHONY: lint
lint: check-go check-python check-ts check-proto check-sh ## the linters and type checkers alone

.PHONY: format
format: bin/golangci-lint .venv/.tools sdk-ts/node_modules/.made ## format all code
	bin/golangci-lint fmt ./...
	.venv/bin/ruff format sdk-python examples e2e bench tools
	.venv/bin/ruff check --fix --select I sdk-python examples e2e bench tools
	.venv/bin/buf format --write
	npm run --silent --prefix sdk-ts format

CODEGEN := .venv/.tools bin/protoc-gen-go bin/protoc-gen-connect-go sdk-ts/node_modules/.made

.PHONY: generate
generate: $(CODEGEN) ## generate code from proto/
	@$(STEP) generate 'code from proto/' tools/sh/generate.sh .

.PHONY: docs
docs: .venv/.tools .venv/.sdk ## write docs/reference, docs/api.md and docs/conformance.md
	@$(STEP) docs 'pages of docs/' .venv/bin/python -m tools.docs

.PHONY: checkgenerate
checkgenerate: $(CODEGEN) ## fail when generated code is not what proto/ gives
	@$(STEP) checkgenerate 'generated code is current' tools/sh/checkgenerate.sh
