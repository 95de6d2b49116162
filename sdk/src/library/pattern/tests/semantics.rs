//! One behaviour a test.

use std::time::Duration;

use super::*;

fn three_large() -> Pattern<String> {
    Pattern::begin("x", has('x')).times(3).within(Duration::from_millis(300_000))
}

fn row(event: &str, time: i64) -> Input {
    Input::value(event).key("k").at(time)
}

#[test]
fn a_match_is_found_when_the_watermark_reaches_its_last_event() {
    let probe = Probe(three_large().skip(Skip::PastLast).build().expect("it makes sense"));
    let mut run = keyed(&probe);
    for time in [120_000, 0, 60_000] {
        run.row(row("x", time));
    }
    run.watermark(119_999);
    assert_eq!(run.rows(), []);
    assert_eq!(run.timers("k")[0].time, 120_000);
    run.watermark(120_000);
    assert_eq!((run.state("k").is_none(), run.timers("k").len()), (true, 0), "nothing is left");
    assert_eq!(described(&run.end()), [("match", "x@0 x@60000 x@120000".to_owned(), 120_000)]);
}

#[test]
fn late_events_take_no_part() {
    let probe = Probe(three_large().skip(Skip::PastLast).build().expect("it makes sense"));
    let mut run = keyed(&probe);
    run.row(row("x", 0));
    run.row(row("x", 10));
    run.watermark(15);
    run.row(row("x", 15));
    run.row(row("-", 12));
    run.row(row("x", 16));
    run.watermark(16);
    let expected = [("late", "x", 15), ("late", "-", 12), ("match", "x@0 x@10 x@16", 16)];
    assert_eq!(described(&run.end()), expected.map(|(output, text, time)| (output, text.to_owned(), time)));
}

#[test]
fn partial_matches_time_out_at_the_first_event_plus_the_bound() {
    let events = [("x", 0), ("x", 50_000)];
    let expected = [("timed-out", "x@0 x@50000", 300_000), ("timed-out", "x@50000", 350_000)];
    assert_eq!(
        found(three_large().skip(Skip::PastLast), &events),
        expected.map(|(output, text, time)| (output, text.to_owned(), time))
    );
    let events = [("x", 0), ("x", 200_000), ("x", 310_000), ("x", 400_000)];
    let expected = [("timed-out", "x@0 x@200000", 300_000), ("match", "x@200000 x@310000 x@400000", 400_000)];
    assert_eq!(
        found(three_large().skip(Skip::PastLast), &events),
        expected.map(|(output, text, time)| (output, text.to_owned(), time))
    );
}

#[test]
fn the_bound_is_exclusive() {
    let pattern = || Pattern::begin("a", has('a')).then("b", has('b')).within(Duration::from_millis(10));
    let result = |last| found(pattern(), &[("a", 0), ("b", last)]).remove(0).0;
    assert_eq!((result(9), result(10)), ("match", "timed-out"));
}

#[test]
fn times_follow_one_another_as_the_contiguity_says() {
    let x = || Pattern::begin("x", has('x')).times(3);
    assert_eq!(matches(x().consecutive(), "x - x x x"), ["x@3 x@4 x@5"]);
    assert_eq!(matches(x(), "x - x x x"), ["x@1 x@3 x@4", "x@3 x@4 x@5"]);
    assert_eq!(matches(x().combinations(), "x x x x"), ["x@1 x@2 x@3", "x@1 x@2 x@4", "x@1 x@3 x@4", "x@2 x@3 x@4"]);
}

#[test]
fn a_range_of_times_is_a_match_with_each_of_them() {
    let x = Pattern::begin("x", has('x')).times(2..=3);
    assert_eq!(matches(x, "x x x x"), ["x@1 x@2", "x@1 x@2 x@3", "x@2 x@3", "x@2 x@3 x@4", "x@3 x@4"]);
    let x = Pattern::begin("x", has('x')).times(2..).skip(Skip::PastLast);
    assert_eq!(matches(x, "x x x x x"), ["x@1 x@2", "x@3 x@4"]);
}

#[test]
fn stages_follow_one_another_as_the_contiguity_says() {
    let a = || Pattern::begin("a", has('a'));
    assert_eq!(matches(a().next("b", has('b')), "a - b a b b"), ["a@4 b@5"]);
    assert_eq!(matches(a().then("b", has('b')), "a - b b"), ["a@1 b@3"]);
    assert_eq!(matches(a().then_any("b", has('b')), "a - b b"), ["a@1 b@3", "a@1 b@4"]);
    let loops = a().then("b", has('b')).times(1..).then("c", has('c'));
    assert_eq!(matches(loops, "a b - b c"), ["a@1 b@2 b@4 c@5", "a@1 b@2 c@5"]);
}

#[test]
fn what_may_be_left_out_is_tried_both_ways() {
    let pattern = || Pattern::begin("a", has('a')).then("b", has('b')).optional().then("c", has('c'));
    assert_eq!(matches(pattern(), "a b c"), ["a@1 b@2 c@3", "a@1 c@3"]);
    assert_eq!(matches(pattern(), "a - c"), ["a@1 c@3"]);
    let first = Pattern::begin("a", has('a')).optional().next("b", has('b'));
    assert_eq!(matches(first, "a b - b"), ["a@1 b@2", "b@2", "b@4"]);
}

#[test]
fn what_must_not_come_ends_a_partial_match() {
    let pattern = || Pattern::begin("a", has('a')).not("n", has('n')).then("b", has('b'));
    assert_eq!(matches(pattern(), "a n b a b"), ["a@4 b@5"]);
    assert_eq!(matches(pattern(), "n a - bn"), ["a@2 b@4"], "the event that is taken is not between");
}

#[test]
fn what_must_not_come_at_the_end_is_known_when_time_runs_out() {
    let pattern = || Pattern::begin("a", has('a')).not("n", has('n')).within(Duration::from_millis(10));
    assert_eq!(found(pattern(), &[("a", 0), ("n", 10)]), [("match", "a@0".to_owned(), 10)]);
    assert_eq!(found(pattern(), &[("a", 0), ("n", 9)]), []);
}

#[test]
fn conditions_may_look_back() {
    let pattern = Pattern::begin("first", has('x'))
        .then("longer", has('x'))
        .times(1..=2)
        .provided(|event, before| before.last().is_some_and(|last| event.len() > last.len()));
    assert_eq!(matches(pattern, "xx x xxx"), ["first@1 longer@3", "first@2 longer@3"]);
}

#[test]
fn skips_leave_matches_out() {
    let x = |skip| Pattern::begin("x", has('x')).times(3).skip(skip);
    assert_eq!(matches(x(Skip::NoSkip), "x x x x"), ["x@1 x@2 x@3", "x@2 x@3 x@4"]);
    assert_eq!(matches(x(Skip::ToNext), "x x x x"), ["x@1 x@2 x@3", "x@2 x@3 x@4"]);
    assert_eq!(matches(x(Skip::PastLast), "x x x x x x"), ["x@1 x@2 x@3", "x@4 x@5 x@6"]);
    assert_eq!(matches(x(Skip::ToLast("x".to_owned())), "x x x x x"), ["x@1 x@2 x@3", "x@3 x@4 x@5"]);
    assert_eq!(matches(x(Skip::ToFirst("x".to_owned())), "x x x x"), ["x@1 x@2 x@3", "x@2 x@3 x@4"]);
    let any = |skip| x(skip).combinations();
    assert_eq!(matches(any(Skip::ToNext), "x x x x"), ["x@1 x@2 x@3", "x@2 x@3 x@4"]);
    assert_eq!(matches(any(Skip::PastLast), "x x x x x x"), ["x@1 x@2 x@3", "x@4 x@5 x@6"]);
}

#[test]
fn a_match_waits_for_what_began_before_it() {
    let pattern = || {
        let (a, b) = (Pattern::begin("a", has('a')), has('b'));
        a.then("b", b).times(2).optional().then("c", has('c')).within(Duration::from_millis(100))
    };
    // The first `a` waits for a second `b` or a `c`; once it is out of time, the second one's match is free.
    let strict = Pattern::begin("a", has('a')).then("b", has('b')).skip(Skip::PastLast);
    let provided = strict.provided(|event, before| before.last().is_some_and(|last| last.len() == event.len()));
    let found = found(provided.within(Duration::from_millis(100)), &[("aa", 0), ("a", 50), ("b", 60)]);
    let expected = [("timed-out", "a@0", 100), ("match", "a@50 b@60", 100)];
    assert_eq!(found, expected.map(|(output, text, time)| (output, text.to_owned(), time)));
    assert_eq!(matches(pattern().skip(Skip::PastLast), "a b b c c"), ["a@1 b@2 b@3 c@4"]);
}

#[test]
fn too_many_partial_matches_are_let_go() {
    let pattern = Pattern::begin("x", has('x')).times(9).combinations().partial_matches_max(20);
    let probe = Probe(pattern.build().expect("it makes sense"));
    let mut run = keyed(&probe);
    (0..5).for_each(|time| run.row(row("x", time)));
    run.watermark(3);
    assert_eq!(run.state("k").map(|state| (state.events(), state.partial_matches())), Some((5, 15)));
    run.watermark(4);
    assert!(run.state("k").is_none());
    assert_eq!(described(&run.end()), [("overflow", "partial_matches_max 20 31".to_owned(), 4)]);
    let pattern = Pattern::begin("x", has('x')).times(100).partial_matches_max(20);
    let events: Vec<(&str, i64)> = (0..36).map(|time| ("x", time)).collect();
    let pattern = pattern.within(Duration::from_secs(1));
    let overflow = found(pattern, &events).remove(0);
    assert_eq!((overflow.0, overflow.1.as_str()), ("overflow", "partial_matches_max 20 21"));
    let pattern = Pattern::begin("x", has('x')).then("y", has('y')).times(100).partial_matches_max(1);
    let events: Vec<(&str, i64)> = std::iter::once(("x", 0)).chain((1..40).map(|time| ("y", time))).collect();
    let found = found(pattern.within(Duration::from_secs(1)), &events);
    assert_eq!(found, [("overflow", "partial_match_events_max 32 33".to_owned(), 32)]);
}

#[test]
fn events_beyond_their_limit_are_rejected() {
    let probe = Probe(three_large().events_max(2).build().expect("it makes sense"));
    let mut run = keyed(&probe);
    for (event, time) in [("x", 1), ("-", 2), ("x", 3), ("x", 4), ("-", 5)] {
        run.row(row(event, time));
    }
    let out = run.end();
    assert_eq!(out.codes(), ["too-many-events"]);
    assert!(out.rejected[0].reason.contains("keeps 2 events for the pattern, and `events_max` is 2"));
}

#[test]
fn events_that_make_no_difference_are_not_kept() {
    let kept = |pattern: Pattern<String>| {
        let probe = Probe(pattern.build().expect("it makes sense"));
        let mut run = keyed(&probe);
        run.row(row("-", 1));
        run.state("k").map_or(0, |state| state.events())
    };
    assert_eq!((kept(three_large()), kept(three_large().consecutive())), (0, 1));
}

#[test]
fn patterns_that_make_no_sense_are_refused() {
    let a = || Pattern::begin("a", has('a'));
    let within = Duration::from_secs(1);
    for (pattern, message) in [
        (Pattern::begin("", has('a')), "stage 1 has no name"),
        (a().then("a", has('b')), "two stages are named `a`"),
        (a().times(0), "stage `a` comes 0 to 0 times"),
        (a().times(std::ops::RangeInclusive::new(3, 2)), "stage `a` comes 3 to 2 times"),
        (a().not("n", has('n')).times(2).then("b", has('b')), "stage `n` says what must not come"),
        (a().not("n", has('n')), "nothing comes after `n`"),
        (a().not("n", has('n')).then("b", has('b')).optional().within(within), "`b` may be left out after `n`"),
        (a().within(Duration::from_micros(999)), "`within` is less than 1 ms"),
        (a().skip(Skip::ToFirst("b".to_owned())), "the skip names the stage `b`"),
        (a().events_max(0), "1 at least"),
        ((0..30).fold(a(), |pattern, stage| pattern.then(stage.to_string(), has('b'))), "31 stages are more than 30"),
    ] {
        let error = pattern.build().expect_err(message);
        assert_eq!(error.code(), "bad-pattern");
        assert!(error.reason().contains(message), "{message}: {error}");
    }
}
