# Two commands do all: `make run` starts a small living ISP, `make test` runs every test.
PY := .venv/bin/python
# tests/tools/preflight names a missing prerequisite together with the command that installs it.
