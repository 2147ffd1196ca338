# CI (.ci/run) and people use the same targets. Every target works on all
# modules of go.work.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PKG ?=              # test: one package or pattern instead of all
TIMEOUT ?= 15m      # test: for each package
FUZZTIME ?= 10s     # fuzz: for each target
BENCH ?= .          # bench: which
STORE ?= etcd       # torture, linear, soak: which, or redis-sentinel for torture
MINUTES ?= 5        # torture, linear, soak: for how long
SEED ?=             # torture, linear, sim: of an earlier run; another one each time if not given
SEEDS ?= 50000      # sim: how many schedules
FROM ?= 0           # sim: the first of them
MUTANTS ?= all      # mutants: a folder, or text in their names, for some
RESULTS ?=          # torture, compare: folder for the result as JSON, if it is to be kept
MEASURE ?=          # compare: handover, failover, rest, herd, weight, process, pause, cut; all if not given
STORES ?=           # compare: etcd, consul, zookeeper, redis, kubernetes; all if not given
QUICK ?=            # compare: 1 to see only that it runs

# Assignments, because the shell stops at one whose command fails, and would go
# on with nothing from a list or an argument.
for_modules = modules="$$(go list -m -f '{{.Dir}}')"; for module in $$modules
packages = $$(go list -m -f '{{.Dir}}/...')
linter = $$(cd tools/golangci-lint && GOWORK=off GOFLAGS=-mod=readonly go tool -n golangci-lint)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# One package at a time: each runs real servers with real deadlines, which two at once would starve.
.PHONY: test
test: servers ## run all tests under the race detector (PKG=./election/... for some, TIMEOUT=15m)
	packages="$(or $(strip $(PKG)),$(packages))"; go test -race -p 1 -timeout $(strip $(TIMEOUT)) $$packages

.PHONY: servers
servers: ## build the servers that tests start, unless they are there already
	go run ./internal/servers/prebuild

.PHONY: clean-servers
clean-servers: ## remove the servers that were built
	go run ./internal/servers/prebuild -clean

.PHONY: lint
lint: ## check formatting, lint, that go.mod is tidy, and that other systems can build it
	@linter="$(linter)"; failed=0; \
	$(for_modules); do \
		echo "lint $$module"; \
		(cd "$$module" && "$$linter" run --allow-parallel-runners ./...) || failed=1; \
		go mod tidy -C "$$module" -diff || failed=1; \
		for system in darwin windows; do \
			(cd "$$module" && export GOOS=$$system && go list ./... | sed '\|/internal/|d' | xargs -r go build -o /dev/null) || \
				{ echo "does not build for $$system"; failed=1; }; \
		done; \
	done; \
	exit $$failed

.PHONY: fmt
fmt: ## format the sources and sort their imports
	@linter="$(linter)"; $(for_modules); do (cd "$$module" && "$$linter" fmt ./...); done

.PHONY: tidy
tidy: ## tidy go.mod and go.sum
	@$(for_modules); do go mod tidy -C "$$module"; done

.PHONY: cover
cover: ## tell how much of package election its tests run
	go test -coverprofile=cover.out -coverpkg=./election ./election
	go tool cover -func=cover.out

.PHONY: fuzz
fuzz: ## fuzz each target for a while (FUZZTIME=10s)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -rn1 dirname | sort -u | while read -r dir; do \
		targets="$$(go test -C "$$dir" -list '^Fuzz' . | grep '^Fuzz')"; for target in $$targets; do \
			go test -C "$$dir" -run '^$$' -fuzz "^$$target$$" -fuzzminimizetime 1s -fuzztime $(strip $(FUZZTIME)) . < /dev/null; \
		done; \
	done

.PHONY: sim
sim: ## simulate elections (SEEDS=50000 FROM=0; SEED=7 for one schedule)
	SEEDS=$(strip $(SEEDS)) FROM=$(strip $(FROM)) SEED=$(strip $(SEED)) go test -run '^TestSimulation$$' -v -timeout 0 ./election

.PHONY: mutants
mutants: servers ## plant bugs, one by one, and expect the tests to fail (MUTANTS=election for some)
	MUTANTS='$(strip $(MUTANTS))' go test -run '^TestMutants$$' -v -timeout 0 ./election

.PHONY: bench
bench: servers ## run the benchmarks (BENCH=Valid for some)
	packages="$(packages)"; go test -run '^$$' -bench '$(strip $(BENCH))' -benchmem $$packages

.PHONY: torture
torture: servers ## run an election amid faults, and check it (STORE=etcd MINUTES=5 SEED=1 RESULTS=folder)
	HUSTINGS_TORTURE_STORE="$(strip $(STORE))" HUSTINGS_TORTURE_MINUTES="$(strip $(MINUTES))" \
	HUSTINGS_TORTURE_SEED="$(strip $(SEED))" HUSTINGS_TORTURE_RESULTS="$(abspath $(strip $(RESULTS)))" \
		go test -C torture -count=1 -v -timeout 24h -run '^TestTorture$$' .

.PHONY: compare
compare: servers ## measure this library beside its peers (MEASURE=handover,rest STORES=etcd QUICK=1 RESULTS=folder)
	HUSTINGS_COMPARE_FULL="$(if $(strip $(QUICK)),,1)" HUSTINGS_COMPARE_MEASURE="$(strip $(MEASURE))" \
	HUSTINGS_COMPARE_STORE="$(strip $(STORES))" HUSTINGS_COMPARE_RESULTS="$(if $(strip $(RESULTS)),$(abspath $(strip $(RESULTS))))" \
		go test -C bench -count=1 -v -timeout 24h -run '^TestCompare$$' .

.PHONY: linear
linear: servers ## check a store's adapter for linearizability (STORE=etcd MINUTES=4 SEED=3)
	HUSTINGS_TORTURE_STORE="$(strip $(STORE))" HUSTINGS_TORTURE_MINUTES="$(strip $(MINUTES))" HUSTINGS_TORTURE_SEED="$(strip $(SEED))" \
		go test -C torture -count=1 -v -timeout 24h -run '^TestAdapterIsLinearizable$$' ./linear

.PHONY: soak
soak: servers ## hold elections for long, and look for leaks (STORE=etcd MINUTES=60)
	HUSTINGS_TORTURE_STORE="$(strip $(STORE))" HUSTINGS_TORTURE_MINUTES="$(strip $(MINUTES))" \
		go test -C torture -count=1 -v -timeout 24h -run '^TestSoak$$' ./soak
