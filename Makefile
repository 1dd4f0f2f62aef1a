# The verbs of the platform, one line each. All logic is in ops/scripts; every verb there has --help.
# Settings on the command line reach it as environment: make start PROFILE=embedded DAGSTER_PORT=28084
PYTHON ?= python3
ODP := $(PYTHON) ops/scripts/odp.py
.DEFAULT_GOAL := help
.PHONY: help start stop restart status logs ps init-data-layers verify-data-layers odp seed prune dagster-ui minio-console \
	api-key share-profile credentials shell clean nuke doctor lint test test-guarantees bench bench-full

help: ## List the verbs
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

start: ## Start everything and fill a verified lake [PROFILE=full|distributed|dev|minimal|embedded]
	@$(ODP) start --profile "$(PROFILE)"

stop: ## Stop containers and processes; all data stays
	@$(ODP) stop

restart: ## Stop, then start the same profile again
	@$(ODP) restart

status: ## Show health, ports, the last init and the last verify [JSON=1]
	@$(ODP) status $(if $(JSON),--json)

logs: ## Show the last log lines [SERVICE=name] [FOLLOW=1]
	@$(ODP) logs --service "$(SERVICE)" $(if $(FOLLOW),--follow)

ps: ## Show the containers
	@$(ODP) ps

init-data-layers: ## Land new files of landing/ and bring every layer up to date [ARGS=...]
	@ops/scripts/init-data-layers.sh $(ARGS)

verify-data-layers: ## Read the lake and say whether it is complete and sound [ARGS="--json --deep"]
	@ops/scripts/verify-data-layers.sh $(ARGS)

odp: ## Look into the lake and take care of it: tables, head, history, restore, … [ARGS=--help]
	@$(ODP) odp -- $(ARGS)

seed: ## Put the sample files into landing [ARGS=...]
	@$(ODP) seed $(ARGS)

prune: ## Remove old runs from Dagster, with events and logs [ARGS=--days 7 --runs 100]
	@$(ODP) prune $(ARGS)

dagster-ui: ## Print and open the address of Dagster
	@$(ODP) dagster-ui

minio-console: ## Print and open the address of the object store's console
	@$(ODP) minio-console

api-key: ## Make a key of the API and print it [ARGS="create --name NAME --scopes read,sql", list, revoke ID]
	@$(ODP) api-key $(ARGS)

share-profile: ## Print a Delta Sharing profile, with a key of its own [ARGS="--days 30"]
	@$(ODP) share-profile $(ARGS)

credentials: ## Print the secrets of this installation
	@$(ODP) credentials

shell: ## Open a shell with the library and the lake at hand
	@$(ODP) shell

clean: ## Remove containers and networks; volumes, .env, .data and landing/ stay
	@$(ODP) clean

nuke: ## Remove all data as well; asks for the project's name [FORCE=1]
	@$(ODP) nuke --force "$(FORCE)"

doctor: ## Check this machine: Docker, ports, memory, disk, .env, sizes [PROFILE=name]
	@$(ODP) doctor --profile "$(PROFILE)"

lint: ## Run all linters [ARGS=names]
	@$(ODP) lint $(ARGS)

test: ## Run every quick test that needs no container [ARGS=pytest arguments]
	@$(ODP) test $(ARGS)

test-guarantees: ## Try hard to lose, double or change a row, on every kind of lake [ARGS=--quick]
	@$(ODP) test-guarantees $(ARGS)

bench: ## Measure this installation against the plain tools [ARGS=...]
	@$(ODP) bench $(ARGS)

bench-full: ## Measure how cost grows, beside other tools, into docs/benchmarks.md [ARGS="--sizes 1000000"]
	@$(ODP) bench-full $(ARGS)
