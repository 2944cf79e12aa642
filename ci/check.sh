#!/usr/bin/env bash
# The fast half (`make check`): the linter, then the tests that train nothing and start no notebook.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 K2_THREADS=1 K2_PNG=0 TOKENIZERS_PARALLELISM=false
ruff check .
ruff format --check --quiet .
python -m pytest -q -n 2 --dist worksteal -m "not slow" tests
