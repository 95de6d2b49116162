//! Simulations that run with every change.

use sim::{Settings, Syncs, run};

/// Fails with what a seed found.
fn check(settings: Settings) {
    let outcome = run(settings);
    assert!(
        outcome.violations.is_empty(),
        "seed {} fails:\n{}\n\nall that was done:\n{}",
        settings.seed,
        outcome.violations.join("\n"),
        outcome.trace.join("\n")
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..5 {
        let (one, other) = (run(Settings::new(seed)), run(Settings::new(seed)));
        let differs = one.trace.iter().zip(&other.trace).position(|(one, other)| one != other);
        let at = differs.map(|at| (&one.trace[at], &other.trace[at]));
        assert_eq!(one.digest, other.digest, "seed {seed} differs at {differs:?}: {at:?}");
    }
}

#[test]
fn other_seeds_give_other_bytes() {
    assert_ne!(run(Settings::new(1)).digest, run(Settings::new(2)).digest);
}

#[test]
fn what_comes_out_is_what_must() {
    for seed in 1000..1060 {
        check(Settings::new(seed));
    }
}

/// How many of the first seeds it takes until a disk that breaks a promise is found out.
fn found(syncs: Syncs) -> Option<u64> {
    let wrong = |settings| !run(settings).violations.is_empty();
    let broken = |seed| Settings { syncs, ..Settings::new(seed) };
    // What is wrong on a disk that is well is no finding.
    (0..200).find(|&seed| wrong(broken(seed)) && !wrong(Settings::new(seed)))
}

#[test]
fn a_journal_that_is_not_synced_is_found() {
    assert!(found(Syncs { journal: false, ..Syncs::KEPT }).is_some());
}

#[test]
fn files_that_are_not_synced_are_found() {
    assert!(found(Syncs { files: false, ..Syncs::KEPT }).is_some());
}

#[test]
fn folders_that_are_not_synced_are_found() {
    assert!(found(Syncs { folders: false, ..Syncs::KEPT }).is_some());
}
