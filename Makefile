# `make help` says what there is. Logs of the steps are under target/logs, those of the tests under target/test-logs.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-soak bench tools image release-check clean preflight

sandbox := deploy/sandbox
aws := $(sandbox)/aws
step := .ci/step
python := $(CURDIR)/target/sandbox/venv/bin/python
inside := $(CURDIR)/$(sandbox)/inside
engine = $(firstword $(foreach name,docker podman buildah,$(shell command -v $(name))))
scripts := .ci/run .ci/step $(addprefix $(sandbox)/,inside first-process enter laptop demo) \
	$(wildcard $(sandbox)/tools/*.sh $(sandbox)/machines/image/*.sh) $(addprefix $(aws)/standin/machines/,boot keeper)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: tools ## the sandbox at work on this machine, narrated; KEEP=1 leaves it running for you to try
	@$(step) build "5 minutes the first time" cargo test --locked --no-run --test demo
	@$(sandbox)/demo up

demo-down: ## ends what `make demo KEEP=1` left running
	@$(sandbox)/demo down

test: also_needed := shellcheck=shellcheck systemd-analyze=systemd
test: tools ## everything that guards main; what CI runs
	@$(step) shellcheck "seconds" shellcheck $(scripts)
	@$(step) fmt "seconds" cargo fmt --check
	@$(step) clippy "5 minutes the first time" cargo clippy --locked --all-targets -- -D warnings
	@$(step) build "10 minutes the first time" cargo test --locked --no-run
	@$(step) --tests cargo-test "a few minutes" cargo test --locked --no-fail-fast -- --skip real::
	@$(step) --tests real-ray "10 minutes" cargo test --locked --no-fail-fast --test rayward real:: -- --test-threads=1
	@$(step) ruff "seconds" $(python) -m ruff check $(aws)
	@$(step) ruff-format "seconds" $(python) -m ruff format --check $(aws)
	@$(step) mypy "a minute" env --chdir=$(aws) $(python) -m mypy .
	@$(step) --tests pytest "2 minutes" env --chdir=$(aws) $(inside) $(python) -m pytest
	@echo "All of it is green."

test-soak: export RAYWARD_TEST_KILLS := 40
test-soak: tools ## what takes ten minutes: the controller killed 160 times in creations and as often in deletions
	@$(step) build "10 minutes the first time" cargo test --locked --no-run
	@$(step) --tests soak "10 minutes" cargo test --locked --test rayward crash::kills -- --test-threads=4

bench: tools ## what Rayward costs, as one table and in target/bench.json; ONLY=<part> measures one (tests/bench)
	@$(step) bench-build "15 minutes the first time" cargo bench --locked --no-run --bench bench
	@cargo bench --quiet --locked --bench bench -- $(ONLY)

tools: preflight ## the programs of the sandbox, built or found once (12 minutes the first time)
	@$(sandbox)/tools/build.sh
	@$(sandbox)/tools/venv.sh
	@$(sandbox)/tools/machine-images.sh

image: ## the container image rayward:latest, by docker, podman or buildah
	@$(if $(engine),,$(error an image is built by docker, podman or buildah: install one of them))
	@$(step) image "20 minutes the first time" $(engine) build --tag rayward .

preflight:
	@$(sandbox)/tools/preflight.sh $(also_needed)

release-check: preflight ## what is too slow for every run: the release build
	@$(step) release-build "10 minutes" cargo build --locked --release
	@$(step) release-runs "a second" target/release/rayward crd

clean: demo-down ## removes what was built here; the tools stay in their cache, ~/.cache/rayward
	cargo clean
