# `make` lists the targets. Everything that compiles first gets libtorch (`make setup`), which is instant once it is
# there, so that no target needs another one to be run before it.
#
# Everything is built in the dev profile, `quickstart` too: Cargo.toml optimises dependencies in it, and the bindings to
# libtorch take minutes to compile, so a release build beside the tests' would double the wait for little.

CARGO ?= cargo
MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
WITHOUT_LIBTORCH := daf-metrics daf-kernels daf-data daf-synth daf-report daf-synth-scratch
.PHONY: help alone setup build quickstart test golden clippy doc msrv typos deny fmt clean

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

doc: setup ## Build the documentation; a warning is an error
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps

# Each crate with its own features alone, and with no libtorch in reach: what another crate asks for in the same build hides nothing.
alone: ## Check each crate that needs no libtorch by itself
	@for crate in $(WITHOUT_LIBTORCH); do LIBTORCH=/nonexistent $(CARGO) check --quiet -p $$crate || exit 1; done
	@for crate in daf-core daf-sweep; do LIBTORCH=/nonexistent $(CARGO) check --quiet -p $$crate --no-default-features || exit 1; done

# `+1.89` needs rustup's cargo. The folder is its own, as the other compiler's would be built anew each time.
msrv: ## Check the crates that need no libtorch with the oldest supported compiler
	CARGO_TARGET_DIR=target/msrv $(CARGO) +$(MSRV) check --locked $(WITHOUT_LIBTORCH:%=-p %)

typos: ## Check the spelling (pip install typos)
	typos

deny: ## Check licenses, advisories and sources of the dependencies (cargo install cargo-deny)
	$(CARGO) deny check

fmt: ## Format the code
	$(CARGO) fmt --all

clean: ## Remove what was built; libtorch stays
	$(CARGO) clean
