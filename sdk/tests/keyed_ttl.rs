//! State and its times to live, against a model that goes through all entries at every step.

use std::collections::BTreeMap;

use millstream_sdk::Domain;
use millstream_sdk::prelude::*;
use proptest::prelude::*;
use testing::Input;

const EVENT: u64 = 10;
const PROCESSING: u64 = 7;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(crate = "millstream_sdk::serde")]
enum Act {
    Set(u8),
    Add(u8),
    Clear,
    Read,
    Push(u8),
    PopFirst,
    KeepLast(u8),
    Insert(u8, u8),
    Increase(u8),
    Remove(u8),
    Get(u8),
    Order(i8, u8),
    RemoveBefore(i8),
    Retain(u8),
    Visit(u8),
    Fail,
}

#[derive(Debug, Default, State)]
struct Kept {
    /// Event time, reading gives it its time anew.
    value: Value<u64>,
    /// Processing time.
    list: List<u8>,
    /// Event time, reading gives entries their time anew.
    map: Map<u8, u64>,
    /// Event time.
    ordered: Ordered<i64, u8>,
    /// Processing time, reading gives entries their time anew.
    visits: Map<u8, u8>,
}

#[derive(Debug)]
struct Keeper;

/// Does to its state what its rows say, and shows it.
#[process]
impl Process for Keeper {
    type Config = NoConfig;
    type Input<'a> = Json<Vec<Act>>;
    type State = Kept;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn state(&self) -> Kept {
        Kept {
            value: Value::new().ttl(Ttl::event_time(EVENT).refreshed_on_read()),
            list: List::new().ttl(Ttl::processing_time(PROCESSING)),
            map: Map::new().ttl(Ttl::event_time(EVENT).refreshed_on_read()),
            ordered: Ordered::new().ttl(Ttl::event_time(EVENT)),
            visits: Map::new().ttl(Ttl::processing_time(PROCESSING).refreshed_on_read()),
        }
    }

    fn on_row(&self, ctx: &mut Context<'_>, kept: &mut Kept, Json(acts): Json<Vec<Act>>) -> Result<()> {
        // What is shown is not read: that would give it its time anew.
        let mut shown = format!("{} {} {}", kept.value.is_set(), kept.map.len(), kept.visits.len());
        shown += &format!(" {:?} {:?}", kept.list.iter().collect::<Vec<_>>(), kept.ordered.iter().collect::<Vec<_>>());
        shown += &format!(" {:?}", (0..4).map(|key| kept.map.contains(&key)).collect::<Vec<_>>());
        for act in acts {
            match act {
                Act::Set(value) => kept.value.set(value.into()),
                Act::Add(value) => *kept.value.or_default() += u64::from(value),
                Act::Clear => drop(kept.value.take()),
                Act::Read => shown += &format!(" value {:?}", kept.value.get()),
                Act::Push(value) => kept.list.push(value),
                Act::PopFirst => shown += &format!(" first {:?}", kept.list.pop_first()),
                Act::KeepLast(count) => kept.list.keep_last(count.into()),
                Act::Insert(key, value) => kept.map.insert(key, value.into()),
                Act::Increase(key) => *kept.map.or_default(key) += 1,
                Act::Remove(key) => shown += &format!(" removed {}", kept.map.remove(&key)),
                Act::Get(key) => shown += &format!(" got {:?}", kept.map.get(&key)),
                Act::Order(key, value) => kept.ordered.insert(key.into(), value),
                Act::RemoveBefore(key) => kept.ordered.remove(..i64::from(key)),
                Act::Retain(least) => kept.ordered.retain(|_, &value| value >= least),
                Act::Visit(key) => match kept.visits.get(&key).copied() {
                    Some(count) => shown += &format!(" visited {count}"),
                    None => kept.visits.insert(key, key),
                },
                Act::Fail => reject!("told-to", "the last act"),
            }
        }
        ctx.emit(shown)
    }
}

/// An entry of the model and when it is gone.
type Entry<T> = (T, i64);

#[derive(Debug, Clone, Default)]
struct Model {
    value: Option<Entry<u64>>,
    list: Vec<Entry<u8>>,
    map: BTreeMap<u8, Entry<u64>>,
    ordered: Vec<Entry<(i64, u8)>>,
    visits: BTreeMap<u8, Entry<u8>>,
}

impl Model {
    fn expire(&mut self, watermark: i64, clock: i64) {
        self.value = self.value.filter(|(_, end)| *end > watermark);
        self.list.retain(|(_, end)| *end > clock);
        self.map.retain(|_, (_, end)| *end > watermark);
        self.ordered.retain(|(_, end)| *end > watermark);
        self.visits.retain(|_, (_, end)| *end > clock);
    }

    fn is_empty(&self) -> bool {
        let Self { value, list, map, ordered, visits } = self;
        value.is_none() && list.is_empty() && map.is_empty() && ordered.is_empty() && visits.is_empty()
    }

    /// Does what a row says; none if it fails.
    fn row(&mut self, time: i64, clock: i64, acts: &[Act]) -> Option<String> {
        let (event, processing) = (time + EVENT as i64, clock + PROCESSING as i64);
        let list: Vec<_> = self.list.iter().map(|(value, _)| value).collect();
        let ordered: Vec<_> = self.ordered.iter().map(|((key, value), _)| (key, value)).collect();
        let mut shown = format!("{} {} {}", self.value.is_some(), self.map.len(), self.visits.len());
        shown += &format!(" {list:?} {ordered:?}");
        shown += &format!(" {:?}", (0..4).map(|key| self.map.contains_key(&key)).collect::<Vec<_>>());
        for &act in acts {
            let end = self.value.map_or(event, |(_, end)| end.max(event));
            match act {
                Act::Set(value) => self.value = Some((value.into(), end)),
                Act::Add(value) => self.value = Some((self.value.map_or(0, |(old, _)| old) + u64::from(value), end)),
                Act::Clear => self.value = None,
                Act::Read => {
                    self.value = self.value.map(|(value, _)| (value, end));
                    shown += &format!(" value {:?}", self.value.map(|(value, _)| value));
                }
                Act::Push(value) => self.list.push((value, processing)),
                Act::PopFirst if self.list.is_empty() => shown += " first None",
                Act::PopFirst => shown += &format!(" first {:?}", Some(self.list.remove(0).0)),
                Act::KeepLast(count) => drop(self.list.drain(..self.list.len().saturating_sub(count.into()))),
                Act::Insert(key, value) => {
                    let end = self.map.get(&key).map_or(event, |(_, end)| event.max(*end));
                    self.map.insert(key, (value.into(), end));
                }
                Act::Increase(key) => {
                    let (value, end) = self.map.get(&key).copied().unwrap_or((0, event));
                    self.map.insert(key, (value + 1, end.max(event)));
                }
                Act::Remove(key) => shown += &format!(" removed {}", self.map.remove(&key).is_some()),
                Act::Get(key) => {
                    let value = self.map.get_mut(&key).map(|(value, end)| {
                        *end = event.max(*end);
                        *value
                    });
                    shown += &format!(" got {value:?}");
                }
                Act::Order(key, value) => {
                    self.ordered.push(((key.into(), value), event));
                    self.ordered.sort_by_key(|((key, _), _)| *key);
                }
                Act::RemoveBefore(before) => self.ordered.retain(|((key, _), _)| *key >= before.into()),
                Act::Retain(least) => self.ordered.retain(|((_, value), _)| *value >= least),
                Act::Visit(key) => match self.visits.get_mut(&key) {
                    Some((count, end)) => {
                        *end = processing.max(*end);
                        shown += &format!(" visited {count}");
                    }
                    None => drop(self.visits.insert(key, (key, processing))),
                },
                Act::Fail => return None,
            }
        }
        Some(shown)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Row(u8, i64, Vec<Act>),
    Watermark(i64),
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0_u8..4;
    let act = prop_oneof![
        any::<u8>().prop_map(Act::Set),
        any::<u8>().prop_map(Act::Add),
        Just(Act::Clear),
        Just(Act::Read),
        any::<u8>().prop_map(Act::Push),
        Just(Act::PopFirst),
        (0_u8..4).prop_map(Act::KeepLast),
        (key.clone(), any::<u8>()).prop_map(|(key, value)| Act::Insert(key, value)),
        key.clone().prop_map(Act::Increase),
        key.clone().prop_map(Act::Remove),
        key.clone().prop_map(Act::Get),
        (-3_i8..3, any::<u8>()).prop_map(|(key, value)| Act::Order(key, value)),
        (-3_i8..3).prop_map(Act::RemoveBefore),
        any::<u8>().prop_map(Act::Retain),
        key.prop_map(Act::Visit),
        Just(Act::Fail),
    ];
    // Times that grow, with some that come late.
    let step = prop_oneof![
        6 => (0_u8..2, -15_i64..8, prop::collection::vec(act, 0..5)).prop_map(|(key, time, acts)| Step::Row(key, time, acts)),
        3 => (0_i64..8).prop_map(Step::Watermark),
        2 => (0_i64..6).prop_map(Step::Clock),
    ];
    prop::collection::vec(step, 0..50)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn entries_are_there_until_their_time_has_come(steps in steps(), known in any::<bool>()) {
        let mut run = testing::keyed(&Keeper);
        let mut models: BTreeMap<u8, Model> = BTreeMap::new();
        let mut watermark = i64::MIN;
        let (mut event, mut clock, mut failures) = (0, 0, 0);
        if known {
            watermark = -5;
            run.watermark(watermark);
        }
        for step in steps {
            match step {
                Step::Row(key, offset, acts) => {
                    let model = models.entry(key).or_default();
                    model.expire(watermark, clock);
                    let mut changed = model.clone();
                    let text = serde_json::to_string(&acts).expect("acts are JSON");
                    run.row(Input::value(text).key([key]).at(event + offset));
                    match changed.row(event + offset, clock, &acts) {
                        Some(shown) => {
                            *model = changed;
                            prop_assert_eq!(run.rows().last().map(|row| row.value_text()), Some(shown));
                        }
                        None => {
                            failures += 1;
                            prop_assert_eq!(run.rejected().len(), failures);
                        }
                    }
                }
                Step::Watermark(forth) => {
                    event += forth;
                    watermark = watermark.max(event - 3);
                    run.watermark(event - 3);
                }
                Step::Clock(forth) => {
                    clock += forth;
                    run.clock(clock);
                }
            }
        }
        // Whatever is left goes without another row, exactly when its time has come.
        for _ in 0..40 {
            event += 1;
            clock += 1;
            watermark = watermark.max(event - 3);
            run.watermark(watermark);
            run.clock(clock);
            models.values_mut().for_each(|model| model.expire(watermark, clock));
            let left = models.values().filter(|model| !model.is_empty()).count();
            // What was written too late to live waits for the watermark to move on.
            prop_assert!(run.keys() == left, "{} keys are left at {watermark} and {clock}, not {left}", run.keys());
        }
        prop_assert_eq!(run.keys(), 0);
        run.end();
    }
}

#[test]
fn an_entry_is_there_one_millisecond_before_its_end_and_gone_at_it() {
    let row = |acts: &str, time| Input::value(acts).key("k").at(time);
    let mut run = testing::keyed(&Keeper);
    run.row(row(r#"[{"Set":1}]"#, 100));
    run.watermark(109);
    assert_eq!(run.state("k").map(|kept| kept.value.is_set()), Some(true));
    run.watermark(110);
    assert_eq!((run.state("k").is_none(), run.keys()), (true, 0));
    run.end();
}

#[derive(Debug)]
struct Later;

/// Keeps the times of its rows, for a time since a newer version.
#[process]
impl Process for Later {
    type Config = NoConfig;
    type Input<'a> = ();
    type State = (List<i64>, Value<u8>);

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn state(&self) -> Self::State {
        (List::new().ttl(Ttl::event_time(5)), Value::new().ttl(Ttl::event_time(EVENT)))
    }

    fn on_row(&self, ctx: &mut Context<'_>, (list, _): &mut Self::State, (): ()) -> Result<()> {
        list.push(ctx.time());
        if ctx.time() == 0 {
            ctx.timers().set_processing(1, 1);
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, (_, value): &mut Self::State, timer: Timer) -> Result<()> {
        assert_eq!((timer.domain, ctx.watermark()), (Domain::ProcessingTime, None));
        value.set(1);
        Ok(())
    }
}

#[test]
fn what_is_written_at_no_known_time_gets_its_time_when_the_key_is_next_seen() {
    let mut run = testing::keyed(&Later);
    run.row(Input::null().key("k").at(0));
    run.clock(1);
    run.watermark(4);
    run.row(Input::null().key("k").at(6));
    run.watermark(15);
    assert_eq!(run.keys(), 1, "the value lives from 6 to 16");
    run.watermark(16);
    assert_eq!(run.keys(), 0);
    run.end();
}
