//! What a tenant writes with the SDK's library: each order of a customer with the sum of the last ten.

use millstream_sdk::library::last_n::LastN;
use millstream_sdk::prelude::*;

/// The plugin.
#[derive(Debug)]
pub struct LastSums(LastN);

/// An order.
#[derive(Debug, Deserialize)]
pub struct Order {
    invoice: String,
    /// In pounds, with up to three decimals.
    amount: f64,
}

/// What an order becomes.
#[derive(Debug, Serialize)]
pub struct Sum {
    invoice: String,
    orders: usize,
    /// In thousandths of a pound, so that it is exact.
    sum: i64,
}

/// Sums up the last ten orders of each customer, at each order.
#[process(outputs(sums = "The invoice, how many orders were summed up, and their sum in thousandths."))]
impl Process for LastSums {
    type Config = NoConfig;
    type Input<'a> = Json<Order>;
    type State = List<i64>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(LastSums(LastN::new(10)?))
    }

    fn on_row(&self, ctx: &mut Context<'_>, last: &mut List<i64>, Json(order): Json<Order>) -> Result<()> {
        self.0.push(last, (order.amount * 1000.0).round() as i64);
        ctx.emit(Json(Sum { invoice: order.invoice, orders: last.len(), sum: last.iter().sum() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_order_takes_the_place_of_the_first() {
        let sums = testing::plugin::<LastSums>("{}").expect("there is nothing to configure");
        let mut run = testing::keyed(&sums);
        for place in 1..=11 {
            run.row(format!(r#"{{"invoice":"{place}","amount":{place}.125}}"#));
        }
        let out = run.end();
        let values = out.values();
        assert_eq!(values[9], r#"{"invoice":"10","orders":10,"sum":56250}"#);
        assert_eq!(values[10], r#"{"invoice":"11","orders":10,"sum":66250}"#);
    }
}
