#!/usr/bin/env bash
# Checks the crate that is published: its files, its size, and that the README's guide works with it in an empty
# project outside the repository.
#
# The guide is read from the README: the commands of its step 1, the program of step 3, and the system of step 4. It
# runs twice against one store. The dependencies have the versions of `Cargo.lock` and are built in the repository's
# target folder, so that they are built once.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}" CARGO_NET_OFFLINE=true

# Always the same folder for one checkout: in a new one, each run would add another build of the library to the target
# folder. It is outside the repository, because Cargo takes a package below a workspace for a part of it.
folder="${TMPDIR:-/tmp}/bevy_convex_replicate-package-$(id -u)-$(cksum <<<"$root" | cut -d ' ' -f 1)"
rm -rf "$folder"
mkdir -p "$folder"
trap 'rm -rf "$folder"' EXIT

fail() {
    echo "package: $*" >&2
    exit 1
}

# What is in it.
cargo package -p bevy_convex_replicate --no-verify --allow-dirty 2>"$folder/said" || { cat "$folder/said" >&2; exit 1; }
crate=$(ls -t "$CARGO_TARGET_DIR"/package/bevy_convex_replicate-*.crate | head -n 1)
size=$(stat -c %s "$crate" 2>/dev/null || stat -f %z "$crate")
[ "$size" -lt 1048576 ] || fail "the crate has $size bytes, and may have less than 1 MiB"
mkdir "$folder/bevy_convex_replicate"
# With the present time (-m): the archive has one old time for all files, by which Cargo would take a changed file for
# an unchanged one.
tar -xmzf "$crate" -C "$folder/bevy_convex_replicate" --strip-components 1
others=$(cd "$folder/bevy_convex_replicate" && find . -type f | sed 's|^\./||' |
    grep -vE '^(src/.*|examples/(minimal|states)\.rs|docs/[a-z]+\.md|(ARCHITECTURE|CHANGELOG|README)\.md|LICENSE-(APACHE|MIT)|Cargo\.(toml|toml\.orig|lock)|\.cargo_vcs_info\.json)$' || true)
[ -z "$others" ] || fail "these files are in the crate and should not be: $others"
for name in src/lib.rs src/store/schema.sql examples/minimal.rs LICENSE-MIT LICENSE-APACHE README.md; do
    [ -f "$folder/bevy_convex_replicate/$name" ] || fail "$name is not in the crate"
done

# block HEADING LANGUAGE: the first block of code of that language after the heading that begins so.
block() {
    awk -v heading="$1" -v language="$2" '
        index($0, heading) == 1 { found = 1 }
        found && !inside && index($0, "```" language) == 1 { inside = 1; next }
        inside && /^```/ { exit }
        inside { print }' README.md
}

# Step 1. The unpacked crate is where the guide expects the checkout.
block "### 1." sh >"$folder/commands"
(cd "$folder" && set -e && . ./commands >"$folder/said" 2>&1) || { cat "$folder/said" >&2; fail "the commands of the guide's step 1 failed"; }
project="$folder/together"

# Steps 3 and 4. What rustdoc hides begins with `# `. What is added ends the program and says what its world has.
port=$((20000 + RANDOM % 20000))
while (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
{
    block "### 3." rust | sed -e 's/^# //' -e "s/127\.0\.0\.1:3210/127.0.0.1:$port/" \
        -e 's/\.add_systems(Update, play)/.add_systems(Update, (play, status_line, end).chain())/'
    block "### 4." rust | grep -v '^# '
    cat <<'RUST'

fn end(status: Res<SyncStatus>, cards: Collection<Card>, mut exit: MessageWriter<AppExit>) {
    let favourite = cards.get(&DocumentId::new("favourite"));
    // More than ten in the second run: its votes count before the stored ones are shown.
    let is_done = status.is_saved() && status.is_live() && status.is_sent();
    if is_done && cards.is_ready() && favourite.is_some_and(|card| card.votes.0 >= 10) {
        println!("the guide has {} cards", cards.iter().count());
        exit.write(AppExit::Success);
    }
}
RUST
} >"$project/src/main.rs"
cp Cargo.lock "$project/Cargo.lock"
# As in the repository, so that the dependencies are the ones that are built already.
(cd "$project" && cargo build -q --config profile.dev.debug=0 --config 'profile.dev.package."*".opt-level=1')

# guide CARDS: runs it until it ends by itself with that many cards.
guide() {
    timeout 60 env HOME="$folder/home" XDG_DATA_HOME="$folder/data" "$CARGO_TARGET_DIR/debug/together" >"$folder/said" 2>&1 ||
        { tail -n 20 "$folder/said" >&2; fail "the guide did not run to its end"; }
    # Everything else that it prints is its status line, or a failure.
    local failures
    failures=$(grep -vE '^(Offline|Connecting|Catching up|Live)([ ,;].*)?$|^the guide has [0-9]+ cards$' "$folder/said" | head -n 5 || true)
    [ -z "$failures" ] || fail "the guide told of failures: $failures"
    tail -n 1 "$folder/said" | grep -qx "the guide has $1 cards" || { tail -n 3 "$folder/said" >&2; fail "the guide has not $1 cards"; }
}

# `add` makes a card in each run; `add_by_name` deletes the one it makes; the favourite is there once.
guide 2
guide 3
echo "package: $((size / 1024)) KiB; the guide runs in an empty project, and finds its cards in the second run"
