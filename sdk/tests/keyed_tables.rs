//! Tables against a map a key: what is written is read, in order, and a rejected row leaves nothing behind.

use std::collections::BTreeMap;

use millstream_sdk::prelude::*;
use proptest::prelude::*;
use testing::Input;

type Name = (i64, String);

const ENTRIES: Table<Name, u64> = Table::new(0);
const OTHERS: Table<u8, String> = Table::new(7);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(crate = "millstream_sdk::serde")]
enum Act {
    Put(Name, u64),
    Delete(Name),
    DeleteRange(i64, i64),
    Get(Vec<Name>),
    Range(i64, i64, usize, bool),
    All(bool),
    Other(u8),
    Fail,
}

/// Bounds over the first part of the name.
fn bounds(start: i64, end: i64) -> std::ops::Range<Name> {
    (start, String::new())..(end, String::new())
}

#[derive(Debug)]
struct Keeper;

/// Does to its tables what its rows say.
#[process]
impl Process for Keeper {
    type Config = NoConfig;
    type Input<'a> = Json<Vec<Act>>;
    type State = ();

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn on_row(&self, ctx: &mut Context<'_>, _: &mut (), Json(acts): Json<Vec<Act>>) -> Result<()> {
        let mut shown = String::new();
        for act in acts {
            match act {
                Act::Put(name, value) => ENTRIES.put(ctx, &name, &value),
                Act::Delete(name) => ENTRIES.delete(ctx, &name),
                Act::DeleteRange(start, end) => ENTRIES.delete_range(ctx, bounds(start, end)),
                Act::Get(names) => shown += &format!("{:?}", ENTRIES.get_many(ctx, &names)?),
                Act::Range(start, end, limit, false) => {
                    shown += &format!("{:?}", ENTRIES.range(ctx, bounds(start, end), limit)?);
                }
                Act::Range(start, end, limit, true) => {
                    shown += &format!("{:?}", ENTRIES.range_backwards(ctx, bounds(start, end), limit)?);
                }
                Act::All(false) => shown += &format!("{:?}", ENTRIES.range(ctx, .., usize::MAX)?),
                Act::All(true) => shown += &format!("{:?}", ENTRIES.range_backwards(ctx, .., usize::MAX)?),
                Act::Other(number) => {
                    shown += &format!("{:?}", OTHERS.get(ctx, &number)?);
                    OTHERS.put_many(ctx, [(&number, &"there".to_owned())]);
                }
                Act::Fail => reject!("told-to", "the last act"),
            }
        }
        ctx.emit(shown)
    }
}

/// What the tables of a key should have.
type Model = (BTreeMap<Name, u64>, BTreeMap<u8, String>);

fn act(entries: &mut BTreeMap<Name, u64>, others: &mut BTreeMap<u8, String>, acts: &[Act]) -> Option<String> {
    let mut shown = String::new();
    for act in acts {
        match act {
            Act::Put(name, value) => drop(entries.insert(name.clone(), *value)),
            Act::Delete(name) => drop(entries.remove(name)),
            Act::DeleteRange(start, end) => entries.retain(|name, _| !bounds(*start, *end).contains(name)),
            Act::Get(names) => {
                shown += &format!("{:?}", names.iter().map(|name| entries.get(name)).collect::<Vec<_>>());
            }
            Act::Range(start, end, limit, backwards) => {
                let mut found: Vec<_> =
                    entries.iter().filter(|(name, _)| bounds(*start, *end).contains(name)).collect();
                if *backwards {
                    found.reverse();
                }
                found.truncate(*limit);
                shown += &format!("{found:?}");
            }
            Act::All(false) => shown += &format!("{:?}", entries.iter().collect::<Vec<_>>()),
            Act::All(true) => shown += &format!("{:?}", entries.iter().rev().collect::<Vec<_>>()),
            Act::Other(number) => {
                shown += &format!("{:?}", others.get(number));
                others.insert(*number, "there".to_owned());
            }
            Act::Fail => return None,
        }
    }
    Some(shown)
}

fn acts() -> impl Strategy<Value = Vec<(u8, Vec<Act>)>> {
    let name = || (-4_i64..5, prop::sample::select(vec!["", "a", "a\0", "b"]).prop_map(str::to_owned));
    let act = prop_oneof![
        6 => (name(), any::<u64>()).prop_map(|(name, value)| Act::Put(name, value)),
        1 => name().prop_map(Act::Delete),
        2 => (-5_i64..6, -5_i64..6).prop_map(|(start, end)| Act::DeleteRange(start, end)),
        2 => prop::collection::vec(name(), 0..4).prop_map(Act::Get),
        3 => (-5_i64..6, -5_i64..6, 0_usize..6, any::<bool>())
            .prop_map(|(start, end, limit, backwards)| Act::Range(start, end, limit, backwards)),
        1 => any::<bool>().prop_map(Act::All),
        1 => (0_u8..3).prop_map(Act::Other),
        1 => Just(Act::Fail),
    ];
    prop::collection::vec((0_u8..2, prop::collection::vec(act, 0..6)), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn tables_are_maps_of_which_a_rejected_row_changes_nothing(rows in acts()) {
        let mut run = testing::keyed(&Keeper);
        let mut models: BTreeMap<u8, Model> = BTreeMap::new();
        let mut expected = Vec::new();
        for (key, acts) in rows {
            let model = models.entry(key).or_default();
            let mut changed = model.clone();
            if let Some(shown) = act(&mut changed.0, &mut changed.1, &acts) {
                *model = changed;
                expected.push(shown);
            }
            run.row(Input::value(serde_json::to_string(&acts).expect("acts are JSON")).key([key]));
        }
        let left: usize = models.values().map(|(entries, others)| entries.len() + others.len()).sum();
        prop_assert_eq!(run.table_entries(), left);
        prop_assert_eq!(run.end().values(), expected);
    }
}

#[test]
fn ranges_of_many_entries_are_read_step_by_step() {
    let put = |from: i64, to: i64| -> Vec<Act> { (from..to).map(|n| Act::Put((n, String::new()), n as u64)).collect() };
    let row = |acts: &[Act]| Input::value(serde_json::to_string(acts).expect("acts are JSON")).key("k");
    let mut run = testing::keyed(&Keeper);
    run.row(row(&put(0, 1_000)));
    // What the call itself changes lies among what the host has, at the ends of its answers too.
    let mut acts = vec![Act::DeleteRange(200, 500)];
    acts.extend(put(250, 260));
    acts.extend([Act::Range(0, 1_000, 700, false), Act::Range(0, 1_000, 700, true), Act::Range(0, 1_000, 2_000, true)]);
    run.row(row(&acts));
    let mut left: Vec<_> = (0..200).chain(250..260).chain(500..1_000).map(|n| ((n, String::new()), n as u64)).collect();
    let mut expected = format!("{:?}", &left[..700]);
    left.reverse();
    expected += &format!("{:?}{left:?}", &left[..700]);
    assert_eq!(run.end().values()[1], expected);
}
