# `make demo` and `make test` set themselves up: all they need is make and Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test cupy-on-cpu browser test-without-torch lint types docs support bench gpu-check gpu-bench gpu-rehearsal clean

demo: $(VENV)/.demo
	$(BIN)/nnarray demo

test: $(VENV)/.test cupy-on-cpu
	$(BIN)/python -m pytest -n 2

# CuPy as it is published, on a CUDA whose devices are the host: `cupy` and `cupy:1` are then tested without a GPU.
cupy-on-cpu: .cupy-on-cpu/built

BUILT_FROM := $(addprefix tests/cupy_on_cpu/,__init__.py __main__.py build.py sorting.py cuda/*)
.cupy-on-cpu/built: $(VENV)/.python $(wildcard $(BUILT_FROM))
	@$(BIN)/python -m tests.cupy_on_cpu

# A browser, in which tests look at the playground: Debian's Chromium, if root asks and there is none.
browser: $(VENV)/.python
	@$(BIN)/python -m tests.browser

# Layers, losses, optimizers, schedules and models as somebody without PyTorch tests them: on NumPy and the strict library.
test-without-torch: $(VENV)/.test
	NNARRAY_WITHOUT=torch,cupy $(BIN)/python -m pytest -n 2 -q -k 'not jax and not strict:' tests/layers tests/models tests/kernels \
	  tests/test_losses.py tests/test_optimizers.py tests/test_schedules.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/basedpyright nnarray

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

# Which tests passed on which backend, as a page of the documentation.
support: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 tests nnarray --support docs/support.md

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/run.py

# On a machine with CUDA (CUDA=cuda12 for CUDA 12): the tests on CuPy, and the figures, into .gpu/ or OUT=folder. Each part,
# such as PART=kernels, ends within eight minutes or LIMIT=seconds. With WHEELS=folder nothing is installed: $(PYTHON) has
# CuPy, and the wheels are what it lacks.
CUDA ?= cuda13
ON_GPU = $(if $(WHEELS),$(PYTHON),$(BIN)/python) benchmarks/on_gpu.py
FOR_GPU = $(PART) $(if $(WHEELS),--wheels $(WHEELS)) $(if $(OUT),--out $(OUT)) $(if $(LIMIT),--limit $(LIMIT))
gpu-check: $(if $(WHEELS),,$(VENV)/.gpu)
	$(ON_GPU) check $(FOR_GPU)

gpu-bench: $(if $(WHEELS),,$(VENV)/.gpu)
	$(ON_GPU) bench $(FOR_GPU)

# All of that without a GPU, cut short, on CuPy built for the host: whether anything would fail there that can be seen here.
gpu-rehearsal: $(VENV)/.test cupy-on-cpu
	$(BIN)/python benchmarks/on_gpu.py check --rehearse --processes 2 --limit 200
	$(BIN)/python benchmarks/on_gpu.py bench --rehearse --limit 200

clean:
	rm -rf $(VENV) .cupy-on-cpu .gpu build dist .pytest_cache .ruff_cache .hypothesis nnarray-*.png docs/_build
	find nnarray tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says that what it names is installed; a changed pyproject.toml installs again.
$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[plot]'
	touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml tests/requirements.txt
	$(BIN)/python -m pip install -q -r tests/requirements.txt -e .
	touch $@

$(VENV)/.docs: $(VENV)/.test docs/requirements.txt
	$(BIN)/python -m pip install -q -r docs/requirements.txt
	touch $@

$(VENV)/.gpu: $(VENV)/.python pyproject.toml tests/requirements.txt
	$(BIN)/python -m pip install -q -r tests/requirements.txt -e '.[bench,$(CUDA)]' 'jax[$(CUDA)]'
	touch $@

$(VENV)/.bench: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[bench]'
	touch $@
