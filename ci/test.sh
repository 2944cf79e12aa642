#!/usr/bin/env bash
# The whole test suite (`make test`): the library, the notebooks with what they committed, a person's JupyterLab.
# One thread a process and two processes at a time: results repeat, and two cores are enough.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 K2_THREADS=1 K2_PNG=0 TOKENIZERS_PARALLELISM=false PYTHONWARNINGS=ignore::DeprecationWarning
K2_ARTIFACTS=$(mktemp -d)
export K2_ARTIFACTS
chain=""
trap '[ -z "$chain" ] || kill "$chain" 2>/dev/null; rm -rf "$K2_ARTIFACTS"' EXIT

echo "== the chain at smoke size, from the corpus to the last verdict: beside the library's tests, told of below"
k2 reproduce --profile smoke >"$K2_ARTIFACTS/chain.log" 2>&1 &
chain=$!

echo "== the library"
python -m pytest -q -n 2 --dist loadfile tests

echo "== the published pages, every output of every cell"
python -m pytest -q -n 2 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=600 notebooks

echo "== the chain"
wait "$chain" && failed=0 || failed=$?
chain=""
grep -v " left$" "$K2_ARTIFACTS/chain.log"
[ "$failed" = 0 ]

echo "== its numbers against data/results/expected_smoke.json"
python -m pytest -q ci/test_drift.py

echo "== a person's JupyterLab: Run All in a real browser"
python -m pytest -q -rs ci/test_browser.py

echo "== ten faults of tests/mutants.yaml, chosen by the commit: does a test notice each?"
python ci/mutants.py --sample 10
