#!/usr/bin/env bash
# Compares the public API with `tests/api/public.txt`.
#
#   tests/api/check.sh            fails with the difference
#   tests/api/check.sh --accept   writes the file anew
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
RUSTDOC=$PWD/tests/api/rustdoc.sh cargo rustdoc -q -p bevy_convex_replicate --all-features --lib -- -Z unstable-options --output-format json
now=$(mktemp)
trap 'rm -f "$now"' EXIT
python3 tests/api/list.py "$target/doc/bevy_convex_replicate.json" >"$now"
if [ "${1:-}" = --accept ]; then
    cp "$now" tests/api/public.txt
elif ! diff -U 0 tests/api/public.txt "$now"; then
    echo "the public API is not the one in tests/api/public.txt. If it should change: tests/api/check.sh --accept" >&2
    exit 1
fi
