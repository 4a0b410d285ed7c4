# From a fresh checkout with Go: make demo shows it, make test tests it.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 30s
BUILD     = CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X github.com/relaytunnel/relay/internal/cli.Version=$(VERSION)'
GOFUMPT   = go tool -modfile=tools/gofumpt.mod gofumpt
# A program with the race detector in it sleeps a second before it exits, unless told not to.
RACE      = CGO_ENABLED=1 GORACE=atexit_sleep_ms=0
GOLANGCI  = go tool -modfile=tools/golangci-lint.mod golangci-lint

.PHONY: build ui test race lint fmt fuzz bench bench-smoke demo dist clean

build: ## the relay command, with its version in it
	$(BUILD) -o relay .

test: ## all tests; first installs the programs that some of them drive
	tools/needs.sh git:git curl:curl wrk:wrk h2load:nghttp2-client python3:python3 \
		dig:bind9-dnsutils kdig:knot-dnsutils ip:iproute2 openssl:openssl dnsmasq:dnsmasq-base strace:strace \
		node:nodejs npm:npm tmux:tmux chromium:chromium http:httpie /usr/lib/python3/dist-packages/flask/__init__.py:python3-flask
	go test -timeout 10m ./...

race: ## all tests under the race detector, which needs a C compiler; of the conformance suite, the program that it judges
	$(RACE) go test -race -timeout 15m $$(go list ./... | grep -v /internal/conformance$$)
	$(RACE) RELAY_RACE=1 go test -short -timeout 15m ./internal/conformance

lint: ## formatting, vet, linters, the inspector's page, known vulnerabilities (VULNDB=folder or URL)
	tools/formatted.sh $(GOFUMPT) -l .
	go vet ./...
	$(GOLANGCI) run
	tools/needs.sh node:nodejs npm:npm
	tools/ui.sh --check
	tools/vulncheck.sh

ui: ## the inspector's page, from internal/inspector/ui; its sources and what they give are committed together
	tools/ui.sh

fmt: ## formats as lint wants it
	$(GOFUMPT) -w .

fuzz: ## every fuzz target for FUZZTIME
	tools/fuzz.sh $(FUZZTIME)

bench: build ## the tables of docs/benchmarks.md; BENCH='-only get -rounds 3' for a part
	go run ./bench -relay ./relay $(BENCH)

bench-smoke: build ## does everything answer right? less than a minute, no word on speed
	go run ./bench -relay ./relay -smoke $(BENCH)

demo: build ## server, agent and a webhook receiver on this machine, tried once
	./relay demo

dist: ## archives, checksums and bills of materials of a release, into dist/; tools/dist_test.sh builds them twice and compares
	tools/needs.sh zip:zip
	tools/dist.sh dist

clean:
	rm -rf relay dist .cache
