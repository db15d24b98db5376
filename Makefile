# make demo   sets everything up and runs the two-stage self-assessment on the bundled model
# make test   sets everything up and runs the tests
PY = .venv/bin/python
DEMO = .venv/.demo
READY = .venv/.ready
INSTALLED = settings.ini setup.py constraints.txt tools/setup.sh
NO_BYTECODE := $(PYTHONDONTWRITEBYTECODE)
unexport PYTHONDONTWRITEBYTECODE       # nothing is compiled when it is installed, so what is imported has to be, once
.NOTPARALLEL:
.PHONY: docs setup demo test test-slow testbed rehearsal rehearsal-reduced distill-demo reproduce figures check export readme lab clean

setup: $(READY)
$(READY): $(INSTALLED)
	NO_BYTECODE=$(NO_BYTECODE) sh tools/setup.sh
	touch $(DEMO) $(READY)

$(DEMO): $(INSTALLED)           # a small part of it
	sh tools/setup.sh demo
	touch $(DEMO)

demo: $(DEMO)
	.venv/bin/unsaf demo

test: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n 2 --dist loadfile --max-worker-restart 0 -m "not slow" tests

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n 2 --dist loadfile --max-worker-restart 0 -m slow tests

testbed: $(READY)               # trains the smallest bundled model anew and compares it with its card; minutes
	$(PY) -m unsaf.world.testbed

rehearsal: $(READY)             # the paper's profile to its last cell, on stand-ins of all that it names; hours, resumable
	PYTHONPATH=tests $(PY) -m rehearsal.run --routes docs/routes.md

rehearsal-reduced: $(READY)     # a few models of each route; minutes
	PYTHONPATH=tests $(PY) -m rehearsal.run --reduced --out runs/rehearsal-reduced

distill-demo: $(READY)          # teacher, student, four arms, three seeds: a study of distillation; resumable
	mkdir -p runs/distillation
	.venv/bin/papermill -k python3 --cwd . nbs/studies/distillation.ipynb runs/distillation/distillation.ipynb

reproduce: $(READY)             # every table and figure of the paper on the testbed, and the ledger, into runs/; resumable
	.venv/bin/unsaf reproduce all --workers 2

docs: $(READY)                  # the documentation as HTML in _docs/html; a warning is an error
	$(PY) tools/docs.py

figures: $(READY)               # the same into the committed figures/testbed, for who maintains them
	.venv/bin/unsaf reproduce all --workers 2 --out figures/testbed

export: $(READY)                # notebooks -> unsaf/, notebooks cleaned, README from the index
	$(PY) tools/sync.py

check: $(READY)                 # fails where exported code, notebooks and README are out of step, or where ruff complains
	$(PY) tools/sync.py --check
	.venv/bin/ruff check -q nbs unsaf tests tools benchmarks setup.py

lab: $(READY)                   # as root, in a container for one: make lab LAB=--allow-root
	@[ "$$(id -u)" != 0 ] || [ -n "$(LAB)" ] || { echo "Jupyter does not run as root by itself: make lab LAB=--allow-root"; exit 2; }
	.venv/bin/jupyter lab --notebook-dir=. $(LAB)

clean:
	rm -rf .venv build dist *.egg-info
