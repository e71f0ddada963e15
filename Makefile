# `make` alone lists the targets. Nothing is installed outside build/.
SHELL := bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
USERS ?= 250
# The end-to-end tests mostly wait, so more files of tests run side by side than there are cores.
WORKERS ?= 6
PORT ?=
CALL ?=
FAULT ?=
NUMBERS ?=
INTERLEAVINGS ?= 1000000
SEED ?= 0
BY ?=

# What is set, empty or not, reaches the command as data, through the environment: neither make nor the shell reads it.
VALUES := EXECUTION LIMIT SCAN AT SINCE FROM TO BUS FORMAT ALL ACTIVITY GAPS CIS ONLY UNUSED_DAYS KEY_AGE_DAYS FAIL OUTPUT MAX_SCANS USERS ACCOUNTS PORT CALL FAULT NUMBERS BY ACCOUNT ROLE_NAME INTERLEAVINGS SEED WORKERS TESTS VERSION TAG
SET_ON_THE_COMMAND_LINE := $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
# The shell's USER is who is logged in, not who is asked for; and a YES is given to one command.
ASKED := $(foreach name,$(VALUES),$(if $(filter-out undefined,$(origin $(name))),$(name))) \
  $(foreach name,USER YES,$(if $(findstring command,$(origin $(name))),$(name)))
# A name that is wrong would be passed by in silence. What tools read from the environment may stand there, too.
KNOWN := $(VALUES) USER YES PYTHON PY MAKE% SHELL PACKAGE INSTALLED AWS_% TF_% TERRAFORM% PIP_% DYNAMODB_TABLE_NAME STATE_MACHINE_ARN
UNKNOWN := $(filter-out $(KNOWN),$(SET_ON_THE_COMMAND_LINE))
ifeq ($(filter break,$(MAKECMDGOALS)),)
  ifneq ($(UNKNOWN),)
    $(error $(firstword $(UNKNOWN)) is no variable that a target knows; `make help` names those of each)
  endif
endif
ifneq ($(and $(findstring command,$(origin USER)),$(filter-out history changes,$(MAKECMDGOALS))),)
  $(error USER is for `make history` and `make changes`; a number of users is USERS)
endif
literal = $(eval override $(1) := $$(value $(1)))$(eval override ASKED_$(1) := $$(value $(1)))$(eval export ASKED_$(1))
$(foreach name,$(ASKED),$(call literal,$(name)))
# --at="$$ASKED_AT" where AT is set, and nothing otherwise; and the same for arguments.
option = $(if $(filter $(1),$(ASKED)),$(2)="$$ASKED_$(1)")
value_of = $(if $(filter $(1),$(ASKED)),-- "$$ASKED_$(1)" $(if $(and $(2),$(filter $(2),$(ASKED))),"$$ASKED_$(2)"))
# --all where ALL is set, to whatever it is.
flag = $(if $(filter $(1),$(ASKED)),$(2))

VENV := build/venv
INSTALLED := $(VENV)/.installed
PY := $(VENV)/bin/python
CHECKOV := build/checkov-venv
CHECKOV_INSTALLED := $(CHECKOV)/.installed
PACKAGE := build/iam_user_monitor.zip
DOCUMENTS := README.md functions/README.md functions/cli/README.md functions/publish_changes/README.md statemachine/README.md terraform/README.md terraform/modules/member_role/README.md tests/README.md
PACKAGE_SOURCES := $(shell find functions -name '*.py') functions/requirements.txt

# Python writes no __pycache__ into the sources: nothing is left behind.
export PYTHONDONTWRITEBYTECODE := 1
export PYTHONUNBUFFERED := 1

# The sections of `make help`, in the order of need. Below, such a line says which one the targets after it belong to.
##@ Try it, without an AWS account
##@ Ask and operate, on your account, or after `. build/local.env` on what `make up` left running
##@ Deploy to your AWS account
##@ Develop
##@ Release

##@ Try it
.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@ / {for (one in titles) if (index(titles[one], substr($$0, 5)) == 1) {section = one; next} \
	  section = ++sections; titles[section] = substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {targets[section] = targets[section] sprintf("  make %-17s %s\n", $$1, $$2)} \
	  END {for (one = 1; one <= sections; one++) printf("%s:\n%s\n", titles[one], targets[one])}' $(MAKEFILE_LIST)

.PHONY: doctor
doctor: ## Say what this machine lacks, and how to get it
	@command -v $(PYTHON) > /dev/null || { echo "MISSING  Python           no '$(PYTHON)' is on the PATH, and 3.11 or newer is needed: python.org; or name one: make doctor PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m tests.local_aws.doctor

##@ Develop
.PHONY: install
install: $(INSTALLED) ## Install the development environment into build/venv

$(INSTALLED): functions/requirements.txt tests/requirements.txt tests/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true). Name another one: make PYTHON=python3.12" >&2; exit 2; }
	@echo "Installing the development environment into $(VENV), once" >&2
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make a virtual environment; install its venv module" >&2; exit 2; }
	@$(PY) -m pip install --disable-pip-version-check --progress-bar off --requirement tests/requirements.txt 2>&1 | \
	  sed -n -e '/^ERROR/p' -e 's/^Collecting \([^ ]*\).*/  \1/p' >&2
	@touch $@

$(CHECKOV_INSTALLED): tests/terraform/checkov-requirements.txt tests/terraform/checkov-constraints.txt | $(INSTALLED)
	@echo "Installing the security scan into $(CHECKOV), once"
	@rm -rf $(CHECKOV)
	@$(PYTHON) -m venv $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip install --disable-pip-version-check --progress-bar off --quiet \
	  --requirement tests/terraform/checkov-requirements.txt 2>&1 | sed -n '/^ERROR/p'
	@touch $@

##@ Deploy
.PHONY: package
package: $(PACKAGE) ## Build the Lambda package, build/iam_user_monitor.zip

$(PACKAGE): $(PACKAGE_SOURCES)
	@$(PYTHON) functions/package.py $@

##@ Try it
.PHONY: run
run: $(INSTALLED) $(PACKAGE) ## Scan USERS (250) users on a local AWS, verify, take it down; ACCOUNTS (0): an organization (PORT)
	@$(PY) -m tests.local_aws run $(call option,USERS,--users) $(call option,ACCOUNTS,--accounts) $(call option,PORT,--port)

.PHONY: up
up: $(INSTALLED) $(PACKAGE) ## Deploy to a local AWS and leave it running (USERS, ACCOUNTS, PORT)
	@$(PY) -m tests.local_aws up $(call option,USERS,--users) $(call option,ACCOUNTS,--accounts) $(call option,PORT,--port)

.PHONY: down
down: $(INSTALLED) ## Stop the local AWS that `make up` started
	@$(PY) -m tests.local_aws down

.PHONY: break mend
BREAK := CALL FAULT NUMBERS BY ACCOUNT
override ASKED_UNKNOWN := $(filter-out $(BREAK) PYTHON,$(SET_ON_THE_COMMAND_LINE))
export ASKED_UNKNOWN
break: $(INSTALLED) ## Let calls on it fail: CALL=dynamodb:BatchWriteItem FAULT=throttled (NUMBERS=2-, BY=write_batch, ACCOUNT)
	@[ -z "$$ASKED_UNKNOWN" ] || { echo "error: make break knows $(BREAK), not $$ASKED_UNKNOWN" >&2; exit 2; }
	@$(PY) -m tests.local_aws break $(call option,CALL,--call) $(call option,FAULT,--fault) \
	  $(call option,NUMBERS,--numbers) $(call option,BY,--by) $(call option,ACCOUNT,--account)

mend: $(INSTALLED) ## Let every call on it succeed again
	@$(PY) -m tests.local_aws mend

##@ Develop
.PHONY: test
# Tests wait for others half of the time: the slow checks calculate meanwhile. What they found is shown where it is wrong.
test: style ## Run everything that CI runs
	@$(MAKE) security typecheck > build/checks.log 2>&1 & checks=$$!; trap 'kill $$checks 2> /dev/null || true' EXIT; \
	  failed=0; $(MAKE) pytest TESTS=tests || failed=$$?; \
	  wait $$checks || { failed=$$?; cat build/checks.log; }; trap - EXIT; exit $$failed

.PHONY: test-unit test-statemachine test-emulator test-terraform test-e2e
test-unit: ## Run the tests of the functions
test-statemachine: ## Run the tests of the state machine
test-emulator: ## Run the tests of the local AWS itself
test-terraform: ## Run the checks and tests of the Terraform configuration
test-e2e: ## Run the end-to-end tests on the local AWS
test-unit test-statemachine test-emulator test-terraform test-e2e: test-%:
	@$(MAKE) pytest TESTS=tests/$(subst test-,,$@)

.PHONY: test-faults
test-faults: ## Run the fault matrix, every state and every fault, and print it as a table
	@$(MAKE) pytest TESTS=tests/statemachine/test_fault_matrix.py WORKERS=0

.PHONY: simulate
simulate: $(INSTALLED) ## Look at INTERLEAVINGS (1000000) random interleavings from SEED (0) on; a failing one is told as a story
	@$(PY) -m tests.simulator $(call option,INTERLEAVINGS,--interleavings) $(call option,SEED,--seed)

.PHONY: simulate-mutants
simulate-mutants: $(INSTALLED) ## Take the fence out clause by clause, and tell what goes wrong without each
	@$(PY) -m tests.simulator mutants

.PHONY: test-sfn-local
test-sfn-local: $(INSTALLED) ## Run the scenarios on AWS's Step Functions Local, which needs Docker
	@$(PY) -m tests.statemachine.sfn_local
	@REQUIRE_DOCKER=1 $(PY) -m pytest -p no:cacheprovider tests/statemachine/test_scenarios.py -k StepFunctionsLocal

.PHONY: bench
bench: $(INSTALLED) $(PACKAGE) ## Measure time, calls and cost beside a single process; the documents show it
	@$(PY) -m tests.bench && missed=0 || missed=$$?; $(MAKE) docs; exit $$missed

.PHONY: pytest
pytest: $(INSTALLED) $(PACKAGE) ## Run some tests: TESTS=tests/unit/test_record.py (WORKERS=6 side by side, 0 for one by one)
	@[ -n "$$ASKED_TESTS" ] || { echo "error: name the tests: make pytest TESTS=tests/unit; make test runs them all" >&2; exit 2; }
	@$(PY) -m pytest -p no:cacheprovider $(call option,WORKERS,--numprocesses) --dist loadfile --no-loadscope-reorder $$ASKED_TESTS

.PHONY: lint style security
lint: style security ## Check style and format, and scan the configuration for security

style: $(INSTALLED)
	@$(VENV)/bin/ruff check --no-cache .
	@$(VENV)/bin/ruff format --no-cache --check .

security: $(CHECKOV_INSTALLED)
	@$(CHECKOV)/bin/checkov --directory terraform --skip-path tests --framework terraform cloudformation --skip-download --quiet --compact

.PHONY: typecheck
typecheck: $(INSTALLED) ## Check the types
	@$(VENV)/bin/mypy --cache-dir build/mypy

.PHONY: docs
docs: $(INSTALLED) ## Write the generated parts of the documents anew, and the schemas of the events
	@$(PY) -m tests.docs.schemas
	@$(PY) -m cogapp -r $(DOCUMENTS)

.PHONY: format
format: $(INSTALLED) ## Format the Python code and the Terraform configuration
	@$(VENV)/bin/ruff check --no-cache --fix-only .
	@$(VENV)/bin/ruff format --no-cache .
	@terraform fmt -recursive terraform

##@ Deploy
# What is for a real account does not go to a local AWS, whatever build/local.env has set.
.PHONY: on-aws
on-aws:
	@$(PYTHON) -m tests.local_aws.real_aws

.PHONY: plan deploy destroy
plan: on-aws $(PACKAGE) ## Show what a deployment to your AWS account would change
	@terraform -chdir=terraform init -input=false
	@terraform -chdir=terraform plan

deploy: on-aws $(PACKAGE) ## Deploy to your AWS account
	@terraform -chdir=terraform init -input=false
	@terraform -chdir=terraform apply

.PHONY: test-aws
test-aws: on-aws $(INSTALLED) ## Try the stack that is deployed to your AWS account: starts, stops and redrives scans
	@$(PY) -m tests.aws.preflight
	@RUN_ON_AWS=1 $(PY) -m pytest -p no:cacheprovider tests/aws tests/statemachine/test_test_state.py

destroy: on-aws ## Remove the deployment, records included, from your AWS account
	@terraform -chdir=terraform apply -var deletion_protection_enabled=false
	@terraform -chdir=terraform destroy -var deletion_protection_enabled=false

##@ Ask
# The operator commands are those of iam-user-monitor: on your AWS account, or on the local AWS after `. build/local.env`.
# make itself answers any failure with exit status 2; the command's own statuses are in the README.
OPERATE = $(PY) -m functions.cli

.PHONY: start redrive accounts scans users history diff changes announce findings report
start: $(INSTALLED) ## Start a scan and follow it to its end (ACCOUNT=<member account>, ROLE_NAME)
	@$(OPERATE) start $(call option,ACCOUNT,--account) $(call option,ROLE_NAME,--role-name)

redrive: $(INSTALLED) ## Redrive a failed run and follow it: EXECUTION=<ARN or name>|latest (ACCOUNT)
	@$(OPERATE) redrive $(call option,ACCOUNT,--account) $(call value_of,EXECUTION)

accounts: $(INSTALLED) ## List the accounts of the organization, and when each was scanned: AT=2026-01-31T00:00Z (FORMAT)
	@$(OPERATE) accounts $(call option,AT,--at) $(call option,FORMAT,--format)

scans: $(INSTALLED) ## List the scans, newest first, or with GAPS=auto|2h the periods without (LIMIT=20, ACCOUNT=<id>|all, FORMAT=table|json|jsonl|csv)
	@$(OPERATE) scans $(call option,LIMIT,--limit) $(call option,GAPS,--gaps) $(call option,ACCOUNT,--account) \
	  $(call option,FORMAT,--format)

history: $(INSTALLED) ## Show a user through time: USER=<name or user_id>, ALL=1 without changes, too (ACTIVITY=1, ACCOUNT, FORMAT)
	@$(OPERATE) history $(call flag,ALL,--all) $(call flag,ACTIVITY,--activity) $(call option,ACCOUNT,--account) \
	  $(call option,FORMAT,--format) $(call value_of,USER)

users: $(INSTALLED) ## List who existed: SCAN=<scan>|latest or AT=2026-01-31T00:00Z (ACCOUNT, FORMAT)
	@$(OPERATE) users $(call option,SCAN,--scan) $(call option,AT,--at) $(call option,ACCOUNT,--account) \
	  $(call option,FORMAT,--format)

diff: $(INSTALLED) ## Show who came, went or changed: FROM=<scan>|previous TO=<scan>|latest (ACTIVITY=1, ACCOUNT, FORMAT)
	@$(OPERATE) diff $(call flag,ACTIVITY,--activity) $(call option,ACCOUNT,--account) $(call option,FORMAT,--format) \
	  $(call value_of,FROM,TO)

changes: $(INSTALLED) ## Show what happened, and whether it was announced: SINCE=1d|<moment>|<scan> USER=<name or user_id> (ACTIVITY=1, ACCOUNT, FORMAT)
	@$(OPERATE) changes $(call option,SINCE,--since) $(call option,USER,--user) $(call flag,ACTIVITY,--activity) \
	  $(call option,ACCOUNT,--account) $(call option,FORMAT,--format)

announce: $(INSTALLED) ## Send the events between two scans again, after asking: FROM=<scan>|previous TO=<scan>|latest (BUS, ACCOUNT, YES=1)
	@$(OPERATE) announce $(call flag,YES,--yes) $(call option,BUS,--bus) $(call option,ACCOUNT,--account) \
	  $(call value_of,FROM,TO)

findings: $(INSTALLED) ## Say what is wrong with it: SCAN or AT, CIS=7.0, ONLY=<control>,… (UNUSED_DAYS, KEY_AGE_DAYS, ALL=1, FAIL=1, ACCOUNT, FORMAT)
	@$(OPERATE) findings $(call option,SCAN,--scan) $(call option,AT,--at) $(call option,CIS,--cis) \
	  $(call option,ONLY,--only) $(call option,UNUSED_DAYS,--unused-days) $(call option,KEY_AGE_DAYS,--key-age-days) \
	  $(call flag,ALL,--all) $(call flag,FAIL,--fail-on-finding) $(call option,ACCOUNT,--account) \
	  $(call option,FORMAT,--format)

report: $(INSTALLED) ## Write the page for auditors: OUTPUT=build/report.html, AT or FROM and TO, MAX_SCANS (UNUSED_DAYS, KEY_AGE_DAYS, ACCOUNT)
	@$(OPERATE) report $(if $(filter OUTPUT,$(ASKED)),--output="$$ASKED_OUTPUT",--output=build/report.html) \
	  $(call option,AT,--at) $(call option,FROM,--from) $(call option,TO,--to) $(call option,MAX_SCANS,--max-scans) \
	  $(call option,UNUSED_DAYS,--unused-days) $(call option,KEY_AGE_DAYS,--key-age-days) $(call option,ACCOUNT,--account)

##@ Release
.PHONY: release release-check release-files
release: ## Make what is Unreleased a version, in pyproject.toml and CHANGELOG.md: VERSION=1.2.3
	@$(PYTHON) -m tests.release cut $(call value_of,VERSION)

release-check: ## See whether version, changelog and TAG (v1.2.3) agree
	@$(PYTHON) -m tests.release check $(call option,TAG,--tag)

release-files: ## Make the files of a release in build/release: package, wheel, checksums, notes (TAG)
	@$(PYTHON) -m tests.release files $(call option,TAG,--tag)

##@ Develop
.PHONY: clean
clean: ## Remove everything that was built
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
