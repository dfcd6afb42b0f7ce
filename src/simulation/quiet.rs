//! After the faults: every app runs and is connected, until nothing is left to do.

use rand::Rng;

use super::{fault::Fault, rights, schedule::Simulation};

/// After this many rounds in a row with nothing to do, everything is at rest. A subscription may still be replaced
/// after a quiet second.
const QUIET_ROUNDS: usize = 6;
/// More rounds than a schedule needs if it comes to rest at all.
const ROUNDS: usize = 3_000;
/// Milliseconds in a round.
const ROUND: i64 = 300;

/// Ends the faults and waits until there is nothing left to do, with everything shown.
pub(super) fn settle(simulation: &mut Simulation) -> Result<(), String> {
    rights::work(simulation)?;
    // A change that was lost is noticed if no later change of the same app depends on it.
    let last = simulation.rng.random_range(0..3 * simulation.peers.len());
    if last < simulation.peers.len() {
        simulation.retry(last)?;
    }
    simulation.trace.add("quiet".into());
    simulation.faults.end();
    for deployment in &mut simulation.deployments {
        deployment.full_until = 0;
    }
    for peer in 0..simulation.peers.len() {
        simulation.peers[peer].full_until = 0;
        let moves = simulation.peers[peer].deployment != 0;
        // A backend that could not write has refused pushes. Apps offer them again in the next connection.
        let was_refused = simulation.faults.has(Fault::BackendFull);
        if simulation.peers[peer].is_doomed || moves || was_refused {
            simulation.disconnect(peer);
        }
        if moves {
            simulation.peers[peer].kill(&mut simulation.oracle);
            simulation.peers[peer].deployment = 0;
        }
    }
    for peer in 0..simulation.peers.len() {
        if simulation.peers[peer].app.as_ref().is_some_and(|app| app.is_offline) {
            simulation.go(peer, true);
        }
    }
    rights::settle(simulation)?;
    for peer in &mut simulation.peers {
        if let Some(app) = &mut peer.app {
            app.world.show_all();
        }
    }
    rest(simulation)
}

pub(super) fn rest(simulation: &mut Simulation) -> Result<(), String> {
    let mut quiet = 0;
    for _ in 0..ROUNDS {
        let busy = round(simulation)?;
        match busy {
            None => quiet += 1,
            Some(_) => quiet = 0,
        }
        if quiet == QUIET_ROUNDS {
            return Ok(());
        }
    }
    let why = round(simulation)?.unwrap_or_default();
    Err(format!("it does not come to rest: {why}"))
}

/// Lets every app and backend do its work. Returns a description of the work, if there was any.
pub(super) fn round(simulation: &mut Simulation) -> Result<Option<String>, String> {
    let mut busy = None;
    simulation.pass(ROUND);
    for at in 0..simulation.deployments.len() {
        if simulation.deployments[at].node.is_none() {
            let deployment = &mut simulation.deployments[at];
            deployment.start(&mut simulation.trace)?;
            simulation.pass(0);
        }
    }
    for at in 0..simulation.peers.len() {
        if simulation.peers[at].app.is_none() {
            let peer = &mut simulation.peers[at];
            peer.start(&simulation.deployments, &simulation.faults, &mut simulation.rng, &mut simulation.trace)?;
            simulation.pass(0);
        }
        for _ in 0..4 {
            if let Some(what) = turn(simulation, at)? {
                busy = Some(what);
            }
        }
    }
    for at in 0..simulation.deployments.len() {
        if simulation.deployments[at].node.as_ref().is_some_and(|node| node.mutations_waiting() > 0) {
            simulation.write(at);
            busy = Some("a mutation waits".into());
        }
        if let Some(node) = &mut simulation.deployments[at].node {
            // Repeats until the backend has no more work.
            for _ in 0..4 {
                node.look_after();
            }
        }
    }
    Ok(busy)
}

/// Lets an app do all its work, and its backend answer it, in the middle of a schedule.
pub(super) fn rush(simulation: &mut Simulation, at: usize) -> Result<(), String> {
    turn(simulation, at)?;
    let deployment = simulation.peers[at].deployment;
    if simulation.deployments[deployment].node.as_ref().is_some_and(|node| node.mutations_waiting() > 0) {
        simulation.write(deployment);
    }
    turn(simulation, at).map(drop)
}

/// Lets an app do everything that it can do now. Returns a description of what there was to do.
fn turn(simulation: &mut Simulation, at: usize) -> Result<Option<String>, String> {
    let mut busy = None;
    let mut note = |what: &str| busy = Some(format!("{what} of app {at}"));
    let elapsed = simulation.elapsed();
    let has_backend = simulation.deployments[simulation.peers[at].deployment].node.is_some();
    let Some(app) = &mut simulation.peers[at].app else { return Ok(None) };
    if app.process.answers_waiting() > 0 {
        app.process.take_answers(usize::MAX);
        note("answers of the disk");
    }
    if app.process.commands_waiting() > 0 {
        app.process.take_commands(usize::MAX);
        note("commands");
    }
    if app.line.is_opening() && has_backend {
        simulation.connect(at);
        note("a connection");
    } else if !app.line.is_connected() && app.process.has_transport() {
        note("a pause before the next attempt to connect");
    }
    while simulation.peers[at].app.as_ref().is_some_and(|app| app.line.has_notice())
        || simulation.peers[at].rights.has_answer()
    {
        simulation.peers[at].notice(&mut simulation.trace);
        note("notices");
    }
    while simulation.peers[at].app.as_ref().is_some_and(|app| app.process.requests_of_transport() > 0) {
        simulation.peers[at].request(simulation.is_one_log, &mut simulation.trace)?;
        simulation.look_at_line(at);
        note("requests of the transport");
    }
    if simulation.peers[at].app.as_ref().is_some_and(|app| app.process.requests_waiting() > 0) {
        simulation.disk(at, usize::MAX)?;
        note("requests of the disk");
    }
    while simulation.peers[at].app.as_ref().is_some_and(|app| !app.line.up.is_empty()) {
        simulation.up(at);
        note("messages to the backend");
    }
    while simulation.send(at) {}
    while !simulation.peers[at].down.is_empty() {
        simulation.down(at);
        note("messages from the backend");
    }
    simulation.tick(at);
    simulation.look_at_reports(at)?;
    let Some(app) = &mut simulation.peers[at].app else { return Ok(None) };
    if app.has_reports() {
        note("reports");
    }
    if app.is_due(elapsed) {
        note("a time that was waited for");
    }
    if app.process.unsent() > 0 {
        note("unsent documents");
    }
    if app.process.is_loading() {
        note("documents to load");
    }
    if app.line.is_pushing() {
        note("a push");
    }
    simulation.frame(at, 0)?;
    let Some(app) = &mut simulation.peers[at].app else { return Ok(None) };
    if app.world.is_waiting() {
        note("versions to be shown");
    }
    Ok(busy)
}
