#!/bin/sh
# SPDX-License-Identifier: MIT
# live.py with the Python of RLHF_TEST_PYTHON; RLHF_TEST_COUNT strings for each tokenizer. Exits with 77
# where the packages are missing.
set -eu
python=${RLHF_TEST_PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || { echo "skipped: no $python"; exit 77; }
exec "$python" "$RLHF_TEST_SOURCE/tests/text/live.py" "$1" --stream "$2" --count "${RLHF_TEST_COUNT:-200}"
