# filmroom: `make demo` to see it, `make test` to check it, `make bench` to measure it, `make ohif` for a second viewer. All
# install what they need first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test bench ohif

# Where `make ohif` puts the viewer.
OHIF_DIR ?= ohif

# What .ci/install puts into the project comes after what the machine has.
export PATH := $(PATH):$(HOME)/.cargo/bin:$(CURDIR)/.tools/bin

help:
	@echo 'make demo   installs what is missing, builds filmroom, starts it with synthetic studies in it'
	@echo 'make test   installs what is missing, checks the code and runs all tests'
	@echo 'make bench  installs Orthanc and DCMTK where missing, and measures filmroom beside them; about 40 minutes'
	@echo '            ONLY=store,tiny,list,query,retrieve,web,stow,picture,size or ONLY=micro for a part, ROUNDS=5, PEERS=no'
	@echo 'make ohif   takes the OHIF viewer from npm into the folder ohif; OHIF_DIR=/elsewhere for another'
	@echo
	@echo 'Rust has to be there: https://rustup.rs. On Debian and Ubuntu the rest is installed with apt-get,'
	@echo 'on other systems you are told what to install. "cargo build --release" alone makes the program.'

demo:
	@.ci/install demo
	cargo run --release --locked -- demo

# Formatting first, because it takes no time. Clippy and the documentation share one compilation of the dependencies,
# which is without code and therefore quick; the tests need the other.
test:
	@.ci/install test
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	@.ci/deny
	cargo test --locked

# The figures are of a machine that does nothing else meanwhile.
bench:
	@.ci/install bench
ifeq ($(ONLY),micro)
	cargo bench --locked --bench micro
else
	cargo bench --locked --bench peers
endif

ohif:
	@.ci/install ohif
	@.ci/ohif '$(OHIF_DIR)'
	@echo 'OHIF is in $(OHIF_DIR). To serve it with the pages: filmroom serve --ohif-dir $(OHIF_DIR)'
