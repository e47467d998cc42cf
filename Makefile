# `make` lists the targets. Everything that compiles first gets libtorch (`make setup`), which is instant once it is
# there, so that no target needs another one to be run before it.
#
# Everything is built in the dev profile, `quickstart` too: Cargo.toml optimises dependencies in it, and the bindings to
# libtorch take minutes to compile, so a release build beside the tests' would double the wait for little.

CARGO ?= cargo
.PHONY: help setup build quickstart test golden clippy fmt clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: ## Fetch libtorch, once (CUDA=1: with the CUDA libraries; CUDA=0: back to the CPU)
	@scripts/setup-libtorch.sh

build: setup ## Build everything
	$(CARGO) build --workspace

quickstart: setup ## Train and test a detector on drawn images; goes on where it was stopped
	$(CARGO) run -p daf-cli -- run examples/quickstart.yaml --resume

test: setup ## Check the format, run clippy, run all tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace --no-fail-fast

golden: setup ## Run the tests against reference numbers (DAF_GOLDEN), skipping none
	CI=true $(CARGO) test --workspace golden

clippy: setup ## Run clippy
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## Format the code
	$(CARGO) fmt --all

clean: ## Remove what was built; libtorch stays
	$(CARGO) clean
