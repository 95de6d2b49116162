//! The order of rows and timers, against a model that is written for clarity: one key, one timer after another.

use std::collections::BTreeMap;

use millstream_sdk::Domain;
use millstream_sdk::prelude::*;
use proptest::prelude::*;
use testing::Input;

/// What a row or timer does.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(crate = "millstream_sdk::serde")]
enum Act {
    Set(u64, i64),
    At(i64),
    Delete(u64),
    DeleteAt(i64),
    SetProcessing(u64, i64),
    DeleteProcessing(u64),
    Fail,
}

/// What a timer does: some set other ones before, at and after their own time; one fails when all else is done.
fn acts_of(timer: Timer) -> Vec<Act> {
    let Timer { time, id, domain } = timer;
    match (id, domain) {
        (Some(0), _) => vec![Act::Set(1, time - 5), Act::At(time + 3), Act::Delete(4)],
        (Some(1), _) => vec![Act::Set(2, time), Act::At(time)],
        (Some(2), _) => vec![Act::Set(3, time + 7), Act::SetProcessing(3, time)],
        (Some(3), _) => vec![Act::Set(0, time + 1), Act::Fail],
        (Some(_), Domain::EventTime) => vec![Act::DeleteAt(time), Act::SetProcessing(1, time + 2)],
        _ => Vec::new(),
    }
}

#[derive(Debug)]
struct Actor;

/// Does what its rows say, and says what it does.
#[process]
impl Process for Actor {
    type Config = NoConfig;
    type Input<'a> = Json<Vec<Act>>;
    type State = Value<u64>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn on_row(&self, ctx: &mut Context<'_>, seen: &mut Value<u64>, Json(acts): Json<Vec<Act>>) -> Result<()> {
        *seen.or_default() += 1;
        let text = format!("{:?} row {} at {:?} late {}", seen.get(), ctx.time(), ctx.watermark(), ctx.is_late());
        ctx.emit(text)?;
        act(ctx, acts)
    }

    fn on_timer(&self, ctx: &mut Context<'_>, seen: &mut Value<u64>, timer: Timer) -> Result<()> {
        *seen.or_default() += 1;
        let text = format!("{:?} timer {timer:?} at {:?} of {}", seen.get(), ctx.watermark(), ctx.time());
        ctx.emit(text)?;
        act(ctx, acts_of(timer))
    }
}

fn act(ctx: &mut Context<'_>, acts: Vec<Act>) -> Result<()> {
    for act in acts {
        match act {
            Act::Set(id, time) => ctx.timers().set(id, time),
            Act::At(time) => ctx.timers().at(time),
            Act::Delete(id) => ctx.timers().delete(id),
            Act::DeleteAt(time) => ctx.timers().delete_at(time),
            Act::SetProcessing(id, time) => ctx.timers().set_processing(id, time),
            Act::DeleteProcessing(id) => ctx.timers().delete_processing(id),
            Act::Fail => reject!("told-to", "the last act"),
        }
    }
    Ok(())
}

/// A timer of the model: how it was set, and when it fires.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Set {
    fires: i64,
    timer: Timer,
}

#[derive(Debug, Default)]
struct Model {
    timers: Vec<Set>,
    seen: u64,
    says: Vec<String>,
    times: Vec<i64>,
    failures: usize,
}

impl Model {
    fn row(&mut self, time: i64, watermark: Option<i64>, clock: i64, acts: &[Act]) {
        let late = watermark.is_some_and(|watermark| time <= watermark);
        let text = format!("{:?} row {time} at {watermark:?} late {late}", Some(self.seen + 1));
        let first = watermark.map_or(i64::MIN, |watermark| watermark + 1);
        self.callback(text, time, acts, first, clock + 1);
    }

    fn callback(&mut self, text: String, time: i64, acts: &[Act], event: i64, processing: i64) {
        if acts.iter().any(|act| matches!(act, Act::Fail)) {
            self.failures += 1;
            return;
        }
        self.seen += 1;
        self.says.push(text);
        self.times.push(time);
        for &act in acts {
            let (id, domain, set) = match act {
                Act::Set(id, time) => (Some(id), Domain::EventTime, Some(time)),
                Act::At(time) => (None, Domain::EventTime, Some(time)),
                Act::Delete(id) => (Some(id), Domain::EventTime, None),
                Act::DeleteAt(_) => (None, Domain::EventTime, None),
                Act::SetProcessing(id, time) => (Some(id), Domain::ProcessingTime, Some(time)),
                Act::DeleteProcessing(id) => (Some(id), Domain::ProcessingTime, None),
                Act::Fail => continue,
            };
            let named = match act {
                Act::At(time) | Act::DeleteAt(time) => Some(time),
                _ => None,
            };
            self.timers.retain(|Set { timer, .. }| {
                timer.domain != domain || timer.id != id || named.is_some_and(|named| named != timer.time)
            });
            if let Some(time) = set {
                let first = if domain == Domain::EventTime { event } else { processing };
                let fires = time.max(first);
                let time = if id.is_some() { fires } else { time };
                self.timers.push(Set { fires, timer: Timer { time, id, domain } });
            }
        }
    }

    /// Fires all timers of the domain up to `limit`, one after another.
    fn fire(&mut self, domain: Domain, limit: i64, clock: i64) {
        let mut reached = None;
        loop {
            // Timers with ids come before those with a time alone.
            let order = |set: &Set| (set.fires, set.timer.id.is_none(), set.timer.id, set.timer.time);
            let due = self.timers.iter().filter(|set| set.timer.domain == domain && set.fires <= limit);
            let Some(&next) = due.min_by_key(|set| order(set)) else { return };
            self.timers.retain(|set| *set != next);
            let timer = next.timer;
            let (watermark, event, processing) = match domain {
                Domain::EventTime => {
                    reached = reached.max(Some(next.fires));
                    (reached, i64::MIN, clock + 1)
                }
                Domain::ProcessingTime => (None, i64::MIN, i64::MIN),
            };
            let text = format!("{:?} timer {timer:?} at {watermark:?} of {}", Some(self.seen + 1), timer.time);
            self.callback(text, timer.time, &acts_of(timer), event, processing);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Row(u8, i64, Vec<Act>),
    Watermark(i64),
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = -20_i64..60;
    let act = prop_oneof![
        4 => (0_u64..6, time.clone()).prop_map(|(id, time)| Act::Set(id, time)),
        3 => time.clone().prop_map(Act::At),
        1 => (0_u64..6).prop_map(Act::Delete),
        1 => time.clone().prop_map(Act::DeleteAt),
        2 => (0_u64..6, time.clone()).prop_map(|(id, time)| Act::SetProcessing(id, time)),
        1 => (0_u64..6).prop_map(Act::DeleteProcessing),
        1 => Just(Act::Fail),
    ];
    let step = prop_oneof![
        6 => (0_u8..3, time.clone(), prop::collection::vec(act, 0..4)).prop_map(|(key, time, acts)| Step::Row(key, time, acts)),
        3 => time.clone().prop_map(Step::Watermark),
        1 => time.prop_map(Step::Clock),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn rows_and_timers_come_in_the_order_of_the_model(steps in steps()) {
        let mut run = testing::keyed(&Actor);
        let mut models: BTreeMap<u8, Model> = BTreeMap::new();
        let (mut watermark, mut clock) = (None, 0);
        for step in steps {
            match step {
                Step::Row(key, time, acts) => {
                    let model = models.entry(key).or_default();
                    model.row(time, watermark, clock, &acts);
                    let text = serde_json::to_string(&acts).expect("acts are JSON");
                    run.row(Input::value(text).key([key]).at(time));
                }
                Step::Watermark(to) => {
                    watermark = watermark.max(Some(to));
                    run.watermark(to);
                }
                Step::Clock(to) => {
                    clock = clock.max(to);
                    run.clock(to);
                }
            }
            for model in models.values_mut() {
                // What timers of one domain set in the other one may be due at once.
                let before = |model: &Model| model.says.len() + model.failures;
                loop {
                    let count = before(model);
                    model.fire(Domain::ProcessingTime, clock, clock);
                    if let Some(watermark) = watermark {
                        model.fire(Domain::EventTime, watermark, clock);
                    }
                    if before(model) == count {
                        break;
                    }
                }
            }
        }
        for (&key, model) in &models {
            let mut set: Vec<Timer> = model.timers.iter().map(|set| set.timer).collect();
            set.sort();
            prop_assert_eq!(run.timers([key]), set);
        }
        let failures: usize = models.values().map(|model| model.failures).sum();
        prop_assert_eq!(run.rejected().len(), failures);
        let out = run.end();
        for (&key, model) in &models {
            let rows: Vec<_> = out.rows.iter().filter(|row| row.key.as_deref() == Some(&[key])).collect();
            let says: Vec<_> = rows.iter().map(|row| row.value_text()).collect();
            prop_assert_eq!(&says, &model.says);
            let times: Vec<_> = rows.iter().map(|row| row.timestamp).collect();
            prop_assert_eq!(&times, &model.times);
        }
    }
}
