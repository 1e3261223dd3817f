# Chronik: build, run, test. `make help` lists what there is.
GO      ?= go
BIN     := bin/chronik
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 10s
FAILOVERS ?= 100
OTHER_FAULTS ?= $(FAILOVERS)
CYCLES  ?= 1000
SEEDS   ?= 10000

.PHONY: help build run cluster demo compose-test test test-short lint sim mutants fuzz chaos virtual bench failover-bench image tools clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/chronik, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/chronik

run: build ## Run a broker on 127.0.0.1:9092, data in ./data
	$(BIN) serve

cluster: build ## Run three nodes on loopback that form a cluster, data in ./data/cluster, until Ctrl-C
	./deploy/cluster.sh

demo: build ## Start a broker, produce and consume with stock clients, show it
	./docs/demo.sh

test-short: lint ## The developer's loop: vet and unit tests, under a minute
	$(GO) test -short $$($(GO) list ./... | grep -v /integration)

test: tools lint ## Everything CI runs: unit tests with the race detector, fuzz corpora, stock clients
	$(GO) test -race $$($(GO) list ./... | grep -v /integration)
	$(GO) test -run '^(TestCrashAtEveryOperation|TestCrashWhileForming)$$' ./partition/log ./cluster # in full: the race detector runs a part of them
	$(MAKE) sim mutants SEEDS=4000
	$(MAKE) fuzz FUZZTIME=20000x
	./integration/setup.sh
	$(GO) test -count=1 -p 1 -timeout 15m ./integration/... # one at a time: they share two cores
	$(GO) test -count=1 -run '^$$' -bench . -benchtime 1x ./... >/dev/null

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt'; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

sim: ## Play SEEDS seeds of the replication simulator
	CHRONIK_SIM_SEEDS=$(SEEDS) $(GO) test -count=1 -timeout 0 -v -run TestSeeds ./partition/sim

mutants: ## Let the simulator catch every seeded bug
	$(GO) test -count=1 -tags mutant -run TestMutants ./partition/sim

fuzz: ## Run every fuzz target for FUZZTIME
	FUZZTIME=$(FUZZTIME) ./internal/house/fuzz.sh

chaos: ## Break three nodes CYCLES times under load (needs root); CHRONIK_CHAOS_SEED replays
	CHRONIK_CHAOS_CYCLES=$(CYCLES) $(GO) test -count=1 -v -timeout 0 -run '^(TestChaos|TestAdminIsLinearizable)$$' ./integration/chaos

virtual: SEEDS = 100
virtual: ## Three brokers in virtual time under SEEDS random schedules; CHRONIK_VIRTUAL_SEED replays
	CHRONIK_VIRTUAL_SEEDS=$(SEEDS) $(GO) test -count=1 -v -timeout 0 -run '^TestVirtualRandom$$' ./broker

bench: build ## Measure produce and consume on this machine
	$(GO) run ./bench $(BENCHFLAGS)

failover-bench: build ## Measure what a producer notices of FAILOVERS faults of each kind, and 1,000 partitions on three nodes
	$(GO) run ./bench/failover -samples $(FAILOVERS) -fewer $(OTHER_FAULTS) -modes kill,both,pause,cut,restart,partitions $(FAILOVERFLAGS)

image: build ## Container image from the static binary, without pulling anything
	mkdir -p bin/data
	docker build -t chronik:$(VERSION) .

compose-test: image ## Run the three-node compose cluster and use it; needs a running container engine
	./deploy/compose/test.sh

tools: ## Check that what the tests need is here
	@command -v $(GO) >/dev/null || { echo 'Go 1.26 or newer is needed: https://go.dev/dl'; exit 1; }

clean: ## Remove what was built
	rm -rf bin .cache dist
