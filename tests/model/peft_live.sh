#!/bin/sh
# SPDX-License-Identifier: MIT
# peft_live.py with the Python of RLHF_TEST_PYTHON. Exits with 77 where PEFT is missing.
set -eu
python=${RLHF_TEST_PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || { echo "skipped: no $python"; exit 77; }
exec "$python" "$RLHF_TEST_SOURCE/tests/model/peft_live.py" "$1"
