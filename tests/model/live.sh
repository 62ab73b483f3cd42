#!/bin/sh
# SPDX-License-Identifier: MIT
# live_families.py with the Python of RLHF_TEST_PYTHON, and RLHF_TEST_PYTHON_ALSO (another version of
# transformers) to load what was saved; the cases of RLHF_TEST_CASES, or all. Exits with 77 where the
# packages are missing.
set -eu
python=${RLHF_TEST_PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || { echo "skipped: no $python"; exit 77; }
exec "$python" "$RLHF_TEST_SOURCE/tests/model/live_families.py" "$1" ${RLHF_TEST_CASES:-} \
    ${RLHF_TEST_PYTHON_ALSO:+--also "$RLHF_TEST_PYTHON_ALSO"}
