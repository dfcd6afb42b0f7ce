#!/usr/bin/env bash
# Runs all the tests that a change must pass. Stops at the first failure.
#
#   ./test.sh             runs all parts
#   ./test.sh --install   first installs the Debian packages that the tests need (as root or with sudo)
#   ./test.sh rust        runs one part: rust, simulation, board, headless, convex, deny
set -euo pipefail
cd "$(dirname "$0")"

# Debian packages, beside Rust and Node, to build the windowed examples, to draw them without a screen, and to open web
# pages.
packages=(build-essential pkg-config libwayland-dev libxkbcommon-dev xvfb xauth mesa-vulkan-drivers libxkbcommon-x11-0 libx11-xcb1 libxcursor1 libxi6 libxrandr2 chromium)

say() { printf '\n== %s\n' "$*"; }

# The end of the last line: the checks that could not run here.
except=""

install() {
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "${packages[@]}" >/dev/null
}

# Reports missing programs at the start, and not after half an hour.
prepared() {
    local missing=()
    command -v cargo >/dev/null || missing+=("Rust 1.95 or newer (cargo)")
    { command -v npm && node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'; } >/dev/null || missing+=("Node 20.19 or newer, with npm")
    [ "$(uname)" != Linux ] || pkg-config --exists wayland-client xkbcommon 2>/dev/null || missing+=("the libraries of the windowed examples")
    command -v xvfb-run >/dev/null || missing+=("xvfb-run, which draws the board without a screen")
    [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || missing+=("Chromium (in CHROMIUM, if it is not /usr/bin/chromium)")
    [ ${#missing[@]} -gt 0 ] || return 0
    printf 'missing: %s\n' "${missing[@]}" >&2
    echo "on Debian: apt-get install ${packages[*]}   (or ./test.sh --install). This installs neither Rust nor Node" >&2
    exit 1
}

# The features and dependencies of a manifest that both builds of the library share.
sections() {
    awk '/^\[/ { inside = /^\[(features|dependencies|dev-dependencies)\]/ } inside && /^[a-z]/ && !/^(default|internals|simulation|aws-lc-rs) =/' "$1"
}

rust() {
    say "format"
    cargo fmt --all --check
    say "clippy: the library with and without Bevy, the windowed examples"
    cargo clippy -q -p bevy_convex_replicate --all-targets --all-features -- -D warnings
    cargo clippy -q -p bevy_convex_replicate --no-default-features -- -D warnings
    cargo clippy -q -p bevy_convex_replicate --no-default-features --features bevy -- -D warnings
    cargo clippy -q -p bevy_convex_replicate --no-default-features --features backend -- -D warnings
    cargo clippy -q -p internals --all-targets -- -D warnings
    cargo clippy -q -p windowed-examples --all-targets -- -D warnings
    cargo clippy -q -p simulation-command --all-targets -- -D warnings
    say "tests"
    cargo test -q -p bevy_convex_replicate
    cargo test -q -p internals
    cargo test -q -p bevy_convex_replicate --no-default-features --lib --test core
    cargo test -q -p windowed-examples --examples
    say "every test that docs/testing.md names for a bug exists"
    local name missing=0
    for name in $(sed -n '/^## Bugs that were found/,$s/^|[^|]*|//p' docs/testing.md | grep -oE '`[a-z0-9_]+`' | tr -d '`'); do
        grep -rqE "fn $name\(" src tests || { echo "docs/testing.md names the test $name, which does not exist" >&2; missing=1; }
    done
    [ $missing = 0 ]
    say "each test and benchmark belongs to one package, and both packages have the same dependencies"
    local file
    for file in tests/*.rs tests/*/main.rs benches/*.rs benches/*/main.rs; do
        name=${file#*/}
        name=${name%.rs}
        name=${name%/main}
        # `schedules` is in the folder `simulation`.
        [ "$name" != simulation ] || name=schedules
        [ "$(cat Cargo.toml tests/internals/Cargo.toml | grep -A1 -E '^\[\[(test|bench)\]\]' | grep -cx "name = \"$name\"")" = 1 ] || {
            echo "$file must be a target of Cargo.toml, or of tests/internals/Cargo.toml if it looks into rooms of the library" >&2
            missing=1
        }
    done
    [ $missing = 0 ]
    diff <(sections Cargo.toml) <(sections tests/internals/Cargo.toml) ||
        { echo "tests/internals/Cargo.toml must have the features and dependencies of Cargo.toml" >&2; exit 1; }
    say "the public API"
    tests/api/check.sh
    say "documentation"
    RUSTDOCFLAGS="-D warnings" cargo doc -q -p bevy_convex_replicate --no-deps
    say "the crate as it is published, and the README's guide in an empty project"
    tests/package.sh
}

simulation() {
    say "500 schedules of the simulator: many apps, with faults"
    tests/simulation/mutations.sh --fit
    SIM_SEEDS=500 cargo test -q --release -p internals --test schedules -- --nocapture
    say "50,000 cases of the laws of merging"
    LAWS_CASES=50000 cargo test -q --release -p internals --test laws
}

board() {
    say "the task board, drawn under a virtual display"
    cargo build -q -p windowed-examples --example task_board --bin check-picture
    local folder
    folder=$(mktemp -d)
    xvfb-run -a -s "-screen 0 1280x800x24" target/debug/examples/task_board --screenshot "$folder/board.png"
    target/debug/check-picture "$folder/board.png"
    rm -r "$folder"
}

headless() {
    say "four apps against the embedded backend"
    local folder
    folder=$(mktemp -d)
    cargo run -q --release -p internals --example headless -- --clients 4 --seconds 5 | tee "$folder/said"
    tail -n 1 "$folder/said" | grep -Eqx 'headless: clients=4 edits=[1-9][0-9]* converged=true lost=0 echoed=0'
    say "the smallest example, twice: the second run has both tasks"
    cargo build -q -p bevy_convex_replicate --example minimal
    HOME=$folder XDG_DATA_HOME=$folder/data target/debug/examples/minimal "Buy milk" | grep '^1 tasks'
    HOME=$folder XDG_DATA_HOME=$folder/data target/debug/examples/minimal "Buy bread" | grep '^2 tasks'
    rm -r "$folder"
}

# Random sequences of calls that both backends are compared by. A difference prints the shortest one and the seed that finds it.
sequences=100

convex() {
    say "the Convex functions: types, lint, tests, conformance; web apps beside a Bevy app"
    cargo build -q -p bevy_convex_replicate --bin replicate-backend --example compared --example native --example board
    export REPLICATE_NATIVE="$PWD/target/debug/examples/native"
    (cd convex && npm ci --silent --no-audit --no-fund && npm run --silent check)
    # That source is in a git repository, which a machine with package registries alone cannot reach.
    [ -d convex/tests/original/fetched ] ||
        echo "left out: the original client's own source (its protocol ran, written anew; convex/tests/original/fetch.sh fetches the source)"

    say "both backends: conformance over HTTP, $sequences random sequences of calls and the rows they make"
    local folder url
    folder=$(mktemp -d)
    target/debug/replicate-backend --listen 127.0.0.1:0 --data "$folder/data" --allow-origin http://page.example >"$folder/said" &
    backend=$!
    trap 'kill "$backend"' EXIT
    until url=$(sed -n 's/^listening on //p' "$folder/said") && [ -n "$url" ]; do
        kill -0 "$backend"
        sleep 0.1
    done
    (cd convex && npm run --silent conformance:remote -- "$url" && npm run --silent compare -- ../target/debug/examples/compared --runs "$sequences")
    say "web apps with the official JavaScript clients, also beside a Bevy app, against the embedded backend"
    (cd convex && REPLICATE_URL="$url" npm run --silent clients:remote)
    kill "$backend"
    wait "$backend"
    trap - EXIT
    rm -r "$folder"

    say "pages in Chromium, of another origin than the embedded backend: the official client, and examples/web"
    (cd convex && npm run --silent browser)

    say "whole apps and the transport against the Convex functions"
    cargo test -q -p internals --test promises --test transport --no-run
    echo "left out, since convex/host is neither durable nor fast (they run against the embedded backend):"
    cargo test -q -p internals --test promises --test transport -- --list durable:: embedded:: | grep ': test$'
    # Everything that needs a place is in these; the rest of the transport's tests are about the network.
    REPLICATE_TEST_BACKEND=convex cargo test -p internals --test promises -- --skip durable::
    REPLICATE_TEST_BACKEND=convex cargo test -p internals --test transport live:: -- --skip embedded::
}

deny() {
    say "licences and sources of the dependencies"
    if ! cargo deny --version >/dev/null 2>&1; then
        echo "installing cargo-deny: this takes a few minutes, once"
        # Without optimization, whose compile time is longer than the time that it saves here.
        cargo install -q cargo-deny --locked --profile dev
    fi
    cargo deny --locked check licenses bans sources
    say "known vulnerabilities of the dependencies"
    if cargo deny fetch db; then
        cargo deny --locked --offline check advisories
    else
        echo "NOT CHECKED: the database of advisories cannot be fetched from here"
        except=", except: known vulnerabilities were not checked"
    fi
}

case "${1:-}" in
    --install) install; prepared; rust; simulation; board; headless; convex; deny ;;
    "") prepared; rust; simulation; board; headless; convex; deny ;;
    rust | simulation | board | headless | convex | deny) "$1" ;;
    *) echo "usage: $0 [--install | rust | simulation | board | headless | convex | deny]" >&2; exit 2 ;;
esac
say "all passed$except"
