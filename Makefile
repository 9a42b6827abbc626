# `make demo` and `make test` (`test-slow`, `test-all`) make .venv and install when needed; nothing else has to be done first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Blender as a package asks for another numpy than ours, so it lives beside; Python 3.11 alone has it.
BLENDER_PYTHON ?= python3.11
BLENDER_STAMP := $(VENV)/blender/.installed
DEMO_OUT ?= demo_out
# Tests start many processes: bytecode that none of them may write is compiled by each anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install blender demo test test-slow test-all lint bench docs pictures blender-addon clean

install: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,onnx,view]'
	touch $(STAMP)

# 370 MB. `smilfit model import` finds it there by itself.
blender: $(BLENDER_STAMP)

$(BLENDER_STAMP): | $(STAMP)
	$(BLENDER_PYTHON) -m venv $(VENV)/blender
	$(VENV)/blender/bin/python -m pip install --quiet --disable-pip-version-check 'bpy>=4.2,<5'
	touch $(BLENDER_STAMP)

demo: $(STAMP)
	$(BIN)/python tools/demo.py --out $(DEMO_OUT)

# Files in the order that tests/conftest.py gives: by itself loadfile begins with those of the most tests.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
# Types and shapes of all arguments are checked where the slow tests run: each process pays some 13 CPU s for it.
CHECKED := --jaxtyping-packages=smilfit,tests.typechecking.check

# What a change is tried with: all but what tests/slow.txt names.
test: $(STAMP)
	$(PYTEST) -m 'not slow'

test-slow: $(STAMP)
	$(PYTEST) -m slow $(CHECKED)

# In one run, types and shapes checked in all of it.
test-all: $(STAMP)
	$(PYTEST) $(CHECKED)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/lint_words.py
	$(BIN)/python -m mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks.body_model
	$(BIN)/python -m benchmarks.fitting
	$(BIN)/python -m benchmarks.preprocess
	$(BIN)/python -m benchmarks.silhouette
	$(BIN)/python -m benchmarks.images

# Pictures of the pages, which are kept in docs/images: the moving one, the figures, the gallery.
pictures: $(STAMP)
	$(BIN)/python docs/scripts/moving_picture.py
	$(BIN)/python docs/scripts/conventions.py
	$(BIN)/python docs/scripts/registration.py $(DEMO_OUT)/scans
	$(BIN)/python docs/scripts/gallery.py --demo $(DEMO_OUT)

# Into what is installed, however it was: pages need smilfit and mkdocs, of any version of torch.
docs: $(if $(wildcard $(BIN)/smilfit),,$(STAMP))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt mkdocs-material
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open build/site/index.html"

# The add-on as an archive in dist/, which Blender installs from disk; needs Python alone.
blender-addon:
	$(PYTHON) tools/blender_addon.py

clean:
	rm -rf $(VENV) build dist *.egg-info
