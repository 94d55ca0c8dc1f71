# You need two commands: `make demo` and `make test`. The others are parts or extras.
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help bootstrap inventory demo demo-down test lint unit molecule bench-converge chaos mutants gpu-proof lock wheelhouse docs goldens house artifact publish-check docs-site matrix

help: ## this list
	@grep -hE '^[a-z -]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z -]+):.*## /  make \1|/' | column -t -s '|'

bootstrap:
	@demo/bootstrap.sh dev

inventory: ## asks for your servers and data, and writes inventory/mine (INVENTORY="-e init_servers=…")
	@PATH="$(CURDIR)/.venv/bin:$$PATH" ansible-playbook -i localhost, playbooks/init.yml $(INVENTORY)

demo: ## three bare hosts become two finished trainings
	@demo/bootstrap.sh machine && /usr/bin/python3 -m demo up

demo-down: ## removes hosts, network and keys of the demo
	@demo/bootstrap.sh machine && /usr/bin/python3 -m demo down

test: bootstrap ## lint, unit, molecule for every role, the whole chain
	@$(PYTHON) -m demo.test

lint unit molecule: bootstrap ## only this part of the tests
	@$(PYTHON) -m demo.test $@

bench-converge: bootstrap ## how long a converged site.yml takes, at 1, 2, 4 and 8 hosts
	@$(PYTHON) -m demo.bench

chaos: bootstrap ## breaks processes, hosts, disks and networks of the demo; takes hours
	@$(PYTHON) -m tests.chaos

mutants: bootstrap ## do the tests see broken code? a sample of 20 minutes (MUTANTS="--number 50 --seed 3 PATH")
	@$(PYTHON) -m pip install -q --disable-pip-version-check -r requirements-mutants.txt
	@nice -n 19 $(PYTHON) -m tools.mutants $(MUTANTS)

gpu-proof: ## site.yml with the real trainer on this machine with NVIDIA GPUs (root, systemd; docs/gpu-proof.md)
	@$(or $(wildcard .venv/bin/python),python3) -m demo.gpu_proof

lock: bootstrap ## the lock of the training environment (LOCK="NAME --vars FILE")
	@PYTHONPATH=collections $(PYTHON) -m tools.lock $(LOCK)

wheelhouse: bootstrap ## the training environment as a folder, for offline hosts (WHEELHOUSE="FOLDER --vars FILE")
	@PYTHONPATH=collections $(PYTHON) -m tools.wheelhouse $(WHEELHOUSE)

goldens: bootstrap ## the texts in tests/fixtures from the templates; review them with git diff
	@$(PYTHON) -m tests.goldens

docs: bootstrap ## variables, findings (both in Chinese, too) and docs/fit.md from their sources
	@$(PYTHON) docs/generate.py

house: bootstrap ## docs/house.md: the packages, their floors and the arrows between them
	@$(PYTHON) -m tools.house

artifact: bootstrap ## the collection as a file for ansible-galaxy, below .cache/artifact
	@$(PYTHON) -m tools.artifact

publish-check: artifact ## every gate of Ansible's ecosystem in full; takes minutes
	@$(PYTHON) -m tools.gates --whole

docs-site: artifact ## docs/site: the pages and the reference of roles and modules as a web site
	@$(PYTHON) -m pip install -q --disable-pip-version-check -r requirements-docs.txt
	@$(PYTHON) -m tools.docs_site

matrix: artifact ## unit tests, and the plan of the example, on each ansible-core with its Pythons
	@$(PYTHON) -m tools.matrix
