#!/usr/bin/env bash
# Plants bugs in a copy of the sources, one at a time, and lets the simulator look for each.
#
#   tests/simulation/mutations.sh              all of them
#   tests/simulation/mutations.sh tie base     those whose names contain one of these words
#   tests/simulation/mutations.sh --fit        checks only whether each still fits the sources
#
# Prints the schedule that found each of them, and fails if one was not found within 5,000.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
most=${SIM_SEEDS:-5000}
missed=0
only_fit=0
if [ "${1:-}" = --fit ]; then
    only_fit=1
    shift
fi
wanted=("$@")

fresh() {
    rm -rf "$scratch/copy"
    mkdir "$scratch/copy"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -pt "$scratch/copy"
}

# replace FILE OLD NEW: once, and it has to be there.
replace() {
    # perl would only warn.
    [ -f "$scratch/copy/$1" ] || { echo "there is no $1" >&2; exit 1; }
    OLD=$2 NEW=$3 perl -0pi -e '(s/\Q$ENV{OLD}\E/$ENV{NEW}/g) == 1 or die "not there once: $ENV{OLD}\n"' "$scratch/copy/$1"
}

# Same times as before, so that only what differs is compiled again: a whole build each time would take longer than the schedules.
simulate() {
    (cd "$scratch/copy" && CARGO_INCREMENTAL=1 cargo test -q --release --config profile.release.package.internals.opt-level=1 \
        -p internals --test schedules "$@")
}

look() {
    local name=$1 output result
    if ! simulate --no-run 2>"$scratch/build"; then
        cat "$scratch/build" >&2
        echo "$name: does not compile" >&2
        exit 1
    fi
    output=$(SIM_STOP=1 SIM_SEEDS=$most simulate -- --nocapture every_promise 2>/dev/null || true)
    result=$(grep -m1 -oE 'seed [0-9]+ failed: .{0,90}' <<<"$output" || true)
    if [ -z "$result" ]; then
        missed=$((missed + 1))
        result="NOT FOUND"
    fi
    printf '%-58s %s\n' "$name" "$result"
}

# mutation NAME (FILE OLD NEW)..
mutation() {
    local name=$1
    shift
    if [ ${#wanted[@]} -gt 0 ]; then
        local is_wanted=0 word
        for word in "${wanted[@]}"; do [[ $name == *"$word"* ]] && is_wanted=1; done
        [ $is_wanted = 1 ] || return 0
    fi
    fresh
    while [ $# -gt 0 ]; do
        replace "$1" "$2" "$3"
        shift 3
    done
    [ $only_fit = 1 ] || look "$name"
}

mutation "the pull cursor has no tie-break" src/backend/log/pull.rs \
    'Bound::Excluded(checkpoint)' 'Bound::Excluded(Position { ts: checkpoint.ts, ordinal: u32::MAX })'
mutation "an edit is made at the newest heads, not at its base" src/replica/live.rs \
    'let is_tip = base.heads.is_empty() || base.heads == tip;' 'let is_tip = true;'
mutation "the checkpoint is stored before the changes that it covers" src/worker/disk/work.rs \
    'StoreRequest::Write(name, write) => self.batch.take(name, write),' \
    'StoreRequest::Write(name, write) => {
                    if matches!(write, crate::store::Write::Checkpoint { .. }) {
                        let _ = self.store.commit(std::slice::from_ref(&write));
                    }
                    self.batch.take(name, write)
                }'
mutation "the outbox is dropped at a restart" src/worker/disk/work.rs \
    'state.unsent.push(store.unsent(collection, remote, usize::MAX)?)' 'state.unsent.push(Vec::new())'
mutation "a received change is pushed" src/replica/remote.rs \
    'let remote = self.remote.id();
            let chunks' 'let remote = None;
            let chunks'
mutation "an actor is used again in the next run" src/replica/mod.rs \
    'ActorId::from(actor)' 'ActorId::from([actor[12]; 16])'
mutation "unsent changes are compacted" src/store/compact.rs \
    'rows.retain(|row| row.chunk.remote == Some(remote));' 'rows.retain(|_| true);' src/store/compact.rs \
    'AND document = ?2 AND holder IS ?3' 'AND document = ?2 AND (holder IS ?3 OR 1)'
mutation "changes count as sent before the answer" src/replica/push.rs \
    'collection.outbox.sent(&batch.send);' 'collection.outbox.sent(&batch.send);
            if let Some(remote) = self.remote.id() {
                for document in &batch.send {
                    self.last_write += 1;
                    let changes = document.changes.iter().map(|(hash, _)| *hash).collect();
                    let (collection, id) = (collection.name.clone(), document.id.clone());
                    let sent = Write::Sent { remote, collection, id, changes };
                    self.effects.push_back(Effect::Store(StoreRequest::Write(self.last_write, sent)));
                }
            }'
mutation "a change of the epoch is ignored" src/replica/remote.rs \
    'let same = epoch.is_some() && self.remote.id() == state.remote && state.remote.is_some();' 'let same = self.remote.id().is_some();'
mutation "a log that is put back keeps its epoch" src/backend/store/mod.rs \
    'UPDATE log SET epoch = ?1' 'UPDATE log SET epoch = ifnull(epoch, ?1)' src/backend/simulated.rs \
    'log.renew_epoch(epoch);' ''
mutation "an edit is dropped while its document is read" src/replica/world.rs \
    'Some(State::Loading(waiting)) => waiting.push(Waiting::Edit(number, edit)),' 'Some(State::Loading(_)) => self.effects.push_back(Effect::Edited(number, 0)),'
mutation "an edit counts as saved before the commit" src/replica/world.rs \
    'self.effects.push_back(Effect::Edited(number, edited));
        self.effects.push_back(compared);' 'self.effects.push_back(Effect::Edited(number, 0));
        self.effects.push_back(compared);'
mutation "apply overwrites an edit that was not captured" src/ecs/version.rs \
    'if is_dirty(world, slot, entity) {' 'if false && is_dirty(world, slot, entity) {'
mutation "a snapshot of the log takes the place of its first row" src/backend/log/compact.rs \
    'let Some(last) = document.rows.get(end - 1).copied() else' 'let Some(last) = document.rows.first().copied() else'
mutation "the backend reports success for a write that its disk refused" src/backend/writer/mod.rs \
    '            self.doubtful = true;
            return Err(format!("the backend cannot write its log: {error}"));' ''
mutation "a page that waits is lost with its connection" src/replica/push.rs \
    'if held.iter().any(|page| page.collection == name) {' 'if held.iter().any(|page| page.collection == name) && false {'
mutation "the answer to a read given up is taken for the next" src/replica/outbox.rs \
    'if *read != number {' 'if *read != number && false {'
mutation "the base of a document made here is not kept" src/replica/live.rs \
    'live.delivered(generation);
        Ok(live)' 'if generation > 0 {
            live.delivered(generation);
        }
        Ok(live)'
mutation "a checkpoint from before pruned documents is not refused" src/backend/log/pull.rs \
    'if checkpoint.ts > 0 && args.pruned != pruned' 'if false && args.pruned != pruned'
mutation "a pruned document is taken as a new one" src/backend/log/prune.rs \
    'match self.has_pruned(collection, &DocumentId::new(id)) {' 'match self.has_pruned(collection, &DocumentId::new(id)) && false {'
mutation "a reader on its way is refused where the log was pruned" src/backend/log/pull.rs \
    'if checkpoint.ts > 0 && args.pruned != pruned' 'if checkpoint.ts > 0'
mutation "an answer that comes twice is taken for the next mutation's" src/transport/session/write.rs \
    'if in_flight.called.take_if(|(called, _)| *called == mutation).is_none() {' 'if in_flight.called.take().is_none() {'
mutation "a push in flight is not dropped with its connection" src/transport/session/mod.rs \
    'if let Some(in_flight) = self.in_flight.take() {' 'if let Some(in_flight) = self.in_flight.take_if(|_| false) {'
mutation "a page that waits for room is not read again" src/transport/session/mod.rs \
    'if self.held && self.has_room() {' 'if false && self.held && self.has_room() {'
mutation "a quiet subscription is not replaced" src/transport/session/mod.rs \
    'follow.tick(now);' 'let _ = follow;'
mutation "a transition starts at the version before the last" src/backend/server/session/mod.rs \
    'std::mem::replace(&mut self.version, end)' 'self.version'
mutation "a page with room is not run again" src/backend/server/session/queries.rs \
    'matches!(&result, Ok(Answer::Deltas(page, _)) if page.has_more)' 'matches!(&result, Ok(Answer::Deltas(..)))'

mutation "another user's token is used" src/transport/token.rs \
    '(Some(user), Some(Some(of))) if user != of =>' '(Some(user), Some(Some(of))) if user != of && false =>'
mutation "a user's edits go out without a token" src/transport/token.rs \
    '(Some(user), None) => {' '(Some(user), None) if user.is_empty() => {'
mutation "all users of a computer have one store" src/worker/mod.rs \
    'Some(user) => user_path(&self.store, user),' 'Some(_) => self.store.clone(),'
mutation "a discard drops what the backend has" src/store/refused.rs \
    'rows.retain(|row| !row.is_held);' 'rows.retain(|_| true);'
mutation "a discard keeps the refused changes" src/store/refused.rs \
    'for row in &dropped {' 'for row in dropped.iter().take(0) {'
mutation "a discard leaves the checkpoints as they are" src/store/refused.rs \
    '(remote <> ?1 OR NOT ?3)' '(remote <> ?1 OR NOT ?3) AND remote < 0'
mutation "pages do not wait for a discard" src/replica/remote.rs \
    'let mut loading = collection.discarding.clone();' 'let mut loading = HashSet::new();'
mutation "a discard takes unsure snapshots for sent" src/store/refused.rs \
    'rows.into_iter().partition(is_known)' 'rows.into_iter().partition(|row| row.is_snapshot || is_known(row))'
mutation "a snapshot that came back in the log stays unsent" src/replica/refused.rs \
    'changes.append(&mut snapshots);' 'snapshots.clear();'
mutation "an actor is used again after a discard" src/replica/refused.rs \
    'self.actor = next_actor(&self.actor);' 'let _ = next_actor;'
mutation "the echo of a discarded push is skipped" src/replica/refused.rs \
    'self.remote.echoes.clear();' ''
mutation "what was captured last goes to the next user" src/ecs/account.rs \
    '    outbox::send(world);
    let link' '    let link'

[ $missed = 0 ] || { echo "$missed not found" >&2; exit 1; }
