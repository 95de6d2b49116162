//! Orders of a wholesaler: what each customer's last ten come to, and three large ones within five minutes.

use std::collections::BTreeMap;

use e2e::real;
use e2e::ways::{Arrival, arrivals, each_way, spread};
use serde_json::json;

/// An order as the tests see it.
struct Order {
    invoice: String,
    customer: Option<String>,
    country: String,
    time: i64,
    /// Thousandths of a pound.
    amount: i64,
}

/// The orders, and the records in which they come: a customer who is not known is `null`.
fn orders() -> anyhow::Result<Option<(Vec<Order>, Vec<Arrival>)>> {
    let Some(rows) = real::table("04_orders_transactions/online_retail_orders.csv.gz", ',')? else { return Ok(None) };
    let (mut orders, mut values) = (Vec::new(), Vec::new());
    for row in &rows {
        let (invoice, at, amount) = (&row["invoice_no"], &row["order_ts"], &row["amount_gbp"]);
        let country = &row["country"];
        let customer = Some(row["customer_id"].clone()).filter(|customer| !customer.is_empty());
        let quoted = customer.as_ref().map_or("null".to_owned(), |customer| format!("\"{customer}\""));
        values.push(format!(
            r#"{{"invoice":"{invoice}","customer":{quoted},"country":"{country}","at":"{at}Z","amount":{amount}}}"#
        ));
        anyhow::ensure!(amount.rfind('.') == amount.len().checked_sub(4), "`{amount}` has three decimals");
        orders.push(Order {
            invoice: invoice.clone(),
            customer,
            country: country.clone(),
            time: real::iso_ms(at)?,
            amount: amount.replace('.', "").parse()?,
        });
    }
    assert_eq!(orders.len(), 25_900, "the file is the one we know");
    Ok(Some((orders, arrivals("orders", values))))
}

const LAST_SUMS: &str = r#"
name = "last-sums"
source = { topics = ["orders"] }
steps = [
  { name = "parse", plugin = "parse-json", config = { key = "customer", timestamp = { field = "at", format = "rfc3339" } } },
  { name = "sums", plugin = "last-sums" },
]
output = { topic = "sums" }
"#;

#[test]
fn each_order_comes_with_the_sum_of_its_customers_last_ten() -> anyhow::Result<()> {
    let Some((orders, arrivals)) = orders()? else { return Ok(()) };
    let mut by_customer: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let (mut expected, mut unknown) = (Vec::new(), 0);
    for order in &orders {
        let Some(customer) = &order.customer else {
            unknown += 1;
            continue;
        };
        let all = by_customer.entry(customer).or_default();
        all.push(order.amount);
        let last: Vec<i64> = all.iter().rev().take(10).copied().collect();
        let (invoice, count, sum) = (&order.invoice, last.len(), last.iter().sum::<i64>());
        let value = format!(r#"{{"invoice":"{invoice}","orders":{count},"sum":{sum}}}"#);
        expected.push((customer.clone(), value));
    }
    assert!(unknown > 1000, "{unknown} orders are of nobody");
    each_way(LAST_SUMS, 1, &arrivals, |outcome| {
        let sums = outcome.rows("sums").iter();
        let sums: Vec<_> = sums.map(|row| (row.key.clone().unwrap_or_default(), row.value.clone())).collect();
        assert!(sums == expected, "{}: not the same sums in the same order", outcome.way);
        let letters = outcome.rows("last-sums.dead-letters");
        assert!(letters.iter().all(|row| row.headers["millstream.code"] == "missing-field"), "{:?}", letters.first());
        assert_eq!(letters.len(), unknown);
        Ok(())
    })
}

/// Three orders over an amount (in pounds) within less than five minutes, of the same customer or country. By
/// definition: with overlaps, each large order begins a match with the two large ones that follow; without, one that
/// is part of a match begins none.
fn check_large_orders(key: &str, over: i64, overlaps: bool, known: Option<usize>) -> anyhow::Result<()> {
    const WITHIN_MS: i64 = 300_000;
    let Some((orders, arrivals)) = orders()? else { return Ok(()) };
    let mut large: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
    for order in orders.iter().filter(|order| order.amount > over * 1000) {
        let of = if key == "customer" { order.customer.as_deref() } else { Some(order.country.as_str()) };
        if let Some(of) = of {
            large.entry(of).or_default().push(order);
        }
    }
    let mut expected = Vec::new();
    for (of, large) in &large {
        let mut taken = 0;
        for (place, three) in large.windows(3).enumerate() {
            if place < taken || three[2].time - three[0].time >= WITHIN_MS {
                continue;
            }
            if !overlaps {
                taken = place + 3;
            }
            let event = |order: &&Order| json!({ "stage": "large", "time": order.time, "fields": { "invoice": order.invoice } });
            let events: Vec<_> = three.iter().map(event).collect();
            expected.push(json!({ "key": of, "start": three[0].time, "end": three[2].time, "events": events }));
        }
    }
    expected.sort_by_key(ToString::to_string);
    assert!(expected.len() >= 5, "{} matches", expected.len());
    assert_eq!(known.unwrap_or(expected.len()), expected.len(), "how many there are in the data");
    let skip = if overlaps { "no_skip" } else { "past_last" };
    let manifest = format!(
        r#"
name = "large-orders"
source = {{ topics = ["orders"] }}
steps = [
  {{ name = "parse", plugin = "parse-json", config = {{ key = "{key}", timestamp = {{ field = "at", format = "rfc3339" }} }} }},
  {{ name = "three", plugin = "pattern", config = {{ stages = [{{ name = "large", where = "amount > {over}", times = 3 }}], within_ms = {WITHIN_MS}, skip = "{skip}", fields = ["invoice"] }}, outputs = {{ late = "late-orders" }} }},
]
output = {{ topic = "alerts" }}
"#
    );
    each_way(&manifest, 1, &arrivals, |outcome| {
        let mut alerts: Vec<_> = outcome.rows("alerts").iter().map(|row| row.json()).collect::<anyhow::Result<_>>()?;
        alerts.sort_by_key(ToString::to_string);
        assert_eq!(alerts, expected);
        assert_eq!((outcome.rows("late-orders").len(), outcome.usage.dead_letters), (0, unknown(key, &orders)));
        Ok(())
    })?;
    if !overlaps {
        // Which orders of one minute are in a match depends on their order, which partitions do not keep.
        return Ok(());
    }
    // Where matches may overlap, those of one minute begin and end when they do in whatever order.
    let span = |alert: &serde_json::Value| [&alert["key"], &alert["start"], &alert["end"]].map(ToString::to_string);
    let mut spans: Vec<_> = expected.iter().map(span).collect();
    spans.sort_unstable();
    for partitions in [2, 4] {
        each_way(&manifest, partitions, &spread(&arrivals, partitions), |outcome| {
            let alerts: Vec<_> = outcome.rows("alerts").iter().map(|row| row.json()).collect::<anyhow::Result<_>>()?;
            let mut found: Vec<_> = alerts.iter().map(span).collect();
            found.sort_unstable();
            let way = outcome.way;
            assert!(found == spans, "{partitions} {way}: {} matches instead of {}", found.len(), spans.len());
            assert_eq!((outcome.rows("late-orders").len(), outcome.usage.dead_letters), (0, unknown(key, &orders)));
            Ok(())
        })?;
    }
    Ok(())
}

/// Orders that have no such key, and so are dead letters.
fn unknown(key: &str, orders: &[Order]) -> u64 {
    orders.iter().filter(|order| key == "customer" && order.customer.is_none()).count() as u64
}

#[test]
fn customers_with_three_orders_over_1000_within_five_minutes_are_found() -> anyhow::Result<()> {
    check_large_orders("customer", 1000, true, None)
}

#[test]
fn countries_with_three_orders_over_500_within_five_minutes_are_found_once() -> anyhow::Result<()> {
    check_large_orders("country", 500, false, None)
}

/// So many that a key's rows overflow if inputs of a backlog do not advance together.
#[test]
fn countries_with_three_orders_over_100_within_five_minutes_are_found() -> anyhow::Result<()> {
    check_large_orders("country", 100, true, Some(1_869))
}
