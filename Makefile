# One profile, one selection of crates: everything that is built with --workspace shares one RocksDB.
CARGO ?= cargo
WORKSPACE = --release --workspace --locked
# How many seeds `make seeds` tries, and the first of them.
SEEDS ?= 10000
FIRST ?= 0
# Arguments of the demo: make demo ARGS="--seconds 10"; of the comparison: make bench ARGS="--rounds 5"
ARGS ?=

.PHONY: help deps deps-build demo build build-tests test verify verify-format verify-lints verify-docs verify-deps \
	verify-rules fix planted attack advisories seeds fuzz deps-fuzz bench deps-bench image clusters deps-clusters demo-kubernetes

help:
	@echo 'make deps        install what is missing for everything below, or print the line that would'
	@echo 'make demo        three sites on this machine, a load, one site killed (ARGS="--seconds 10")'
	@echo 'make bench       the same work for Holdfast, without TLS and with it, for etcd and for the floor: seven minutes (ARGS="--rounds 5")'
	@echo 'make image       the container image as an OCI archive: target/image/holdfast.tar'
	@echo 'make demo-kubernetes  the same over three Kubernetes clusters, one of which is killed; needs root and Go'
	@echo 'make clusters    three Kubernetes clusters on this machine (ARGS="--nodes 3"); 20 minutes of building the first time'
	@echo 'make test        every test'
	@echo 'make attack      every attack on the ports of real stores, with what each made a store take'
	@echo 'make verify      format, lints, docs, licences, layers and house rules; writes nothing'
	@echo 'make fix         write what can be put right by machine: format, lints, docs/api.md'
	@echo 'make planted     plant each known bug and see that a test catches it'
	@echo 'make advisories  known weaknesses of what we depend on (needs the network)'
	@echo 'make seeds       more seeds in the simulator (SEEDS=10000 FIRST=0)'
	@echo 'make fuzz        every decoder and the code behind it, an hour each (ARGS="--seconds 60 --target heartbeats")'

deps:
	@.ci/deps all

deps-build:
	@.ci/deps build

demo: build
	@target/release/holdfast demo $(ARGS)

deps-bench:
	@.ci/deps bench

bench: build deps-bench
	@target/release/holdfast-bench compare --peer etcd --short --tls $(ARGS)

image: build
	@target/release/holdfast-image

deps-clusters:
	@.ci/deps clusters

clusters: deps-clusters
	$(CARGO) build --release --locked --package holdfast-testkit
	@target/release/holdfast-clusters up $(ARGS)

demo-kubernetes: deps-clusters build
	@target/release/holdfast-kubernetes-demo $(ARGS)

build: deps-build
	.ci/build $(CARGO) build $(WORKSPACE)

build-tests: build
	$(CARGO) test $(WORKSPACE) --no-run

test: build
	$(CARGO) test $(WORKSPACE) --no-fail-fast

# Quick ones are among `make test` too.
attack: build
	$(CARGO) test $(WORKSPACE) --test attack -- --include-ignored --nocapture --test-threads 1

verify: verify-format verify-lints verify-docs verify-deps verify-rules

verify-format:
	$(CARGO) fmt --all --check

verify-lints: deps-build
	.ci/build $(CARGO) clippy $(WORKSPACE) --all-targets -- -D warnings

verify-docs: deps-build
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(WORKSPACE) --no-deps --features holdfast-client/mock

verify-deps:
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo 'cargo-deny is missing: make deps'; exit 1; }
	@$(CARGO) fetch --locked
	$(CARGO) deny --locked --offline check licenses sources bans

verify-rules:
	$(CARGO) run --release --locked --quiet --package holdfast-tidy

fix: deps
	$(CARGO) fmt --all
	$(CARGO) clippy $(WORKSPACE) --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all
	$(CARGO) run --release --locked --quiet --package holdfast-tidy -- api > target/api.md && mv target/api.md docs/api.md

planted: deps-build
	@tests/planted/run

# Offline is no failure here, but it is not a pass either, and says so.
advisories: deps
	@if $(CARGO) deny --locked fetch db; then $(CARGO) deny --locked --offline check advisories; \
	else echo 'advisories: not checked: offline'; fi

seeds: deps-build
	HOLDFAST_SIM_SEEDS=$(SEEDS) HOLDFAST_SIM_FIRST_SEED=$(FIRST) \
		$(CARGO) test --release --locked --package holdfast-sim --test seeds -- --nocapture

deps-fuzz:
	@.ci/deps fuzz

fuzz: deps-fuzz
	@fuzz/run $(ARGS)
