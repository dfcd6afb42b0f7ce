#!/usr/bin/env bash
# Checks the functions with the newest release of `convex`, or with the one that is named: `convex/tests/newest.sh [version]`. A person runs this by hand before a
# release, and writes the result down in convex/README.md. It works in a temporary copy and changes nothing here. It is no part of `./test.sh`, because a newer release
# must not fail the tests of an older commit.
#
# If that release needs a newer Node than this machine has, the copy gets one from npm (the package `node`).
set -euo pipefail
cd "$(dirname "$0")/../.."

version=${1:-$(npm view convex version)}
wanted=$(npm view "convex@$version" engines.node)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

if [ -z "${REPLICATE_NATIVE:-}" ]; then
    cargo build -q -p bevy_convex_replicate --example native
    export REPLICATE_NATIVE="$PWD/target/debug/examples/native"
fi

git ls-files -z | tar --null --files-from=- --create | tar --extract --directory "$copy"
cd "$copy/convex"
npm ci --silent --no-audit --no-fund
packages=("convex@$version")
major=$(node --print 'process.versions.node.split(".")[0]')
least=$(grep -Eo '[0-9]+' <<<"$wanted" | head -n 1)
if [ "$major" -lt "$least" ]; then
    packages+=("node@$least")
fi
npm install --silent --no-audit --no-fund --no-save "${packages[@]}"
echo "convex $(node --print 'require("convex/package.json").version'), Node $(npm exec -- node --version) (it asks for $wanted)"
npm run --silent check
