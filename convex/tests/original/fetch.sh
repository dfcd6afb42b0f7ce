#!/usr/bin/env bash
# Fetches the client of the original library, so that its own source runs in the tests of `tests/original.ts`:
#
#   tests/original/fetch.sh [REPOSITORY]
#
# The package is no longer on npm, so the source comes from its git repository, which may be a local copy. None of it
# belongs to this repository: git ignores the folder.
set -euo pipefail
cd "$(dirname "$0")"

rm -rf fetched
git clone --quiet --depth 1 --branch v0.2.0 "${1:-https://github.com/trestleinc/replicate}" fetched/repository
mv fetched/repository/packages/core/src fetched/src
rm -rf fetched/repository
# The versions that its lock file names. `@tanstack/db` is missing: the source imports only types from it.
echo '{ "private": true, "type": "module" }' >fetched/package.json
npm install --silent --no-audit --no-fund --no-save --prefix fetched \
    @automerge/automerge@3.1.2 @automerge/automerge-repo-storage-indexeddb@2.4.0 @logtape/logtape@1.1.2
echo "fetched $(find fetched/src -name '*.ts' | wc -l) files"
