//! The time that replication adds to a frame: idle, and while documents are applied. Run with `cargo bench --bench
//! frame`.

use std::{hint::black_box, time::Duration};

use bevy::prelude::*;
use bevy_convex_replicate::{
    CollectionIndex, DocumentIndex, DocumentKey,
    ecs::Link,
    prelude::*,
    worker::{Command, Report},
};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::{Receiver, Sender};

#[derive(Component, Serialize, Deserialize, Clone)]
struct Task {
    text: String,
    is_completed: bool,
}

fn task() -> Task {
    Task { text: "Buy milk".into(), is_completed: false }
}

struct Side {
    app: App,
    commands: Receiver<Command>,
    reports: Sender<Report>,
}

impl Side {
    /// An app with replication alone, and a budget that never limits it.
    fn new() -> Self {
        let (link, commands, reports) = Link::channels();
        let mut app = App::new();
        app.add_plugins(ReplicatePlugin::new("bench").apply_budget(Duration::from_secs(3600)))
            .insert_resource(link)
            .replicate::<Task>("tasks");
        app.update();
        Self { app, commands, reports }
    }

    fn deliver(&self, documents: u64, generation: u64) {
        for n in 0..documents {
            let document = DocumentKey { collection: CollectionIndex(0), id: DocumentId::new(n.to_string()) };
            let content: Box<dyn std::any::Any + Send> = Box::new((Some(task()),));
            let report = Report::Delta {
                document,
                generation,
                seen: 0,
                content: Some(content),
                misfit: None,
                origin: Origin::Remote,
            };
            self.reports.send(report).expect("the app has the other end");
        }
    }

    /// With documents that arrived a while ago.
    fn filled(documents: u64) -> Self {
        let mut side = Self::new();
        side.deliver(documents, 1);
        side.app.update();
        side.app.update();
        assert_eq!(side.app.world().resource::<DocumentIndex>().len() as u64, documents);
        side.forget();
        side
    }

    fn forget(&self) -> usize {
        self.commands.try_iter().count()
    }
}

/// A frame in which nothing happens. With 0 documents, it is the cost of the app itself.
fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("idle_frame");
    for documents in [0_u64, 10_000, 100_000] {
        let mut side = Side::filled(documents);
        group.bench_function(BenchmarkId::new("documents", documents), |b| b.iter(|| side.app.update()));
        assert_eq!(side.forget(), 0, "an idle frame sends nothing");
    }
    group.finish();
}

/// Frames in which documents arrive.
fn apply(c: &mut Criterion) {
    const DOCUMENTS: u64 = 10_000;
    let mut group = c.benchmark_group("apply");
    group.sample_size(20).throughput(Throughput::Elements(DOCUMENTS));
    group.bench_function("insert_10000", |b| {
        b.iter_batched_ref(
            || {
                let side = Side::new();
                side.deliver(DOCUMENTS, 1);
                side
            },
            |side| side.app.update(),
            BatchSize::PerIteration,
        );
    });
    let mut side = Side::filled(DOCUMENTS);
    let mut generation = 1;
    group.bench_function("update_10000", |b| {
        b.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    generation += 1;
                    side.deliver(DOCUMENTS, generation);
                    let start = std::time::Instant::now();
                    side.app.update();
                    let taken = start.elapsed();
                    black_box(side.forget());
                    taken
                })
                .sum()
        });
    });
    group.finish();
}

/// Frames in which documents are edited.
fn capture(c: &mut Criterion) {
    let mut group = c.benchmark_group("capture");
    for edits in [1_usize, 10_000] {
        let mut side = Side::filled(10_000);
        group.throughput(Throughput::Elements(edits as u64));
        group.bench_function(BenchmarkId::new("edits", edits), |b| {
            b.iter_custom(|rounds| {
                (0..rounds)
                    .map(|_| {
                        let mut tasks = side.app.world_mut().query::<&mut Task>();
                        for mut task in tasks.iter_mut(side.app.world_mut()).take(edits) {
                            task.is_completed = !task.is_completed;
                        }
                        let start = std::time::Instant::now();
                        side.app.update();
                        let taken = start.elapsed();
                        assert_eq!(side.forget(), edits);
                        taken
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, idle, apply, capture);
criterion_main!(benches);
