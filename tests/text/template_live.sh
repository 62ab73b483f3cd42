#!/bin/sh
# SPDX-License-Identifier: MIT
# template_live.py with the Python of RLHF_TEST_PYTHON; RLHF_TEST_COUNT random templates, and the
# models' templates in the folders of RLHF_TEST_TEMPLATES. Exits with 77 where jinja2 is missing.
set -eu
python=${RLHF_TEST_PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || { echo "skipped: no $python"; exit 77; }
exec "$python" -B "$RLHF_TEST_SOURCE/tests/text/template_live.py" "$1" --count "${RLHF_TEST_COUNT:-1000}"
