//! Customers: orders and reads at the gateway, at a steady rate, from outside the shop.
//!
//! They send no trace context, as browsers without instrumentation do not; the traces begin at the gateway.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use reqwest::StatusCode;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::api::{Item, Order, PlaceOrder, cards};
use super::scenarios::{Effect, Switches};
use super::services::CATALOG;

/// Requests at the same time; when the shop is slower than the load, customers stay away.
const MOST_AT_ONCE: usize = 64;
/// Placed orders that customers come back to look at.
const REMEMBERED: usize = 100;

/// Which request a customer makes.
#[derive(Clone, Debug)]
enum Visit {
    Order(PlaceOrder),
    /// A path at the gateway.
    Read(String),
}

/// Who they are, and what they remember.
pub struct Customers {
    gateway: String,
    client: reqwest::Client,
    scenarios: Switches,
    placed: Mutex<VecDeque<String>>,
}

/// Puts load on the gateway until `stop`: `rate` orders a second and twice as many reads, and more where a scenario wants
/// it.
///
/// # Errors
/// A customer's task failed.
pub async fn run(customers: Customers, rate: f64, stop: CancellationToken) -> anyhow::Result<()> {
    if rate <= 0.0 {
        return Ok(());
    }
    let customers = Arc::new(customers);
    let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut at_once = JoinSet::new();
    for n in 0_u64.. {
        tokio::select! {
            _ = interval.tick() => {}
            () = stop.cancelled() => break,
        }
        let (times, tries) = customers.mood();
        for visit in (0..times).flat_map(|_| [Visit::Order(order(n)), customers.read(), customers.read()]) {
            while at_once.try_join_next().is_some() {}
            if at_once.len() < MOST_AT_ONCE {
                let customers = Arc::clone(&customers);
                at_once.spawn(async move { customers.make(visit, tries).await });
            }
        }
    }
    while at_once.join_next().await.is_some() {}
    Ok(())
}

/// The n-th order. One in ten has a card that is declined, one in 25 a slow bank; now and then the customer is
/// unknown or wants what is sold out.
fn order(n: u64) -> PlaceOrder {
    let card = match n {
        _ if n % 10 == 4 => cards::DECLINED,
        _ if n % 25 == 11 => cards::SLOW_BANK,
        _ => cards::GOOD,
    };
    let customer = if n % 40 == 23 { 999 } else { rand::random_range(1..=50) };
    let items = if n % 40 == 37 {
        vec![Item { sku: CATALOG[CATALOG.len() - 1].0.into(), quantity: 1 }]
    } else {
        let for_sale = &CATALOG[..CATALOG.len() - 1];
        let picked = for_sale.sample(&mut rand::rng(), rand::random_range(1..=3));
        picked.map(|p| Item { sku: p.0.into(), quantity: rand::random_range(1..=2) }).collect()
    };
    PlaceOrder { user_id: format!("u-{customer}"), items, card: card.into() }
}

impl Customers {
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(gateway: String, scenarios: Switches) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(MOST_AT_ONCE)
            .user_agent("throughline-load")
            .no_proxy()
            .build()?;
        Ok(Self { gateway, client, scenarios, placed: Mutex::default() })
    }

    /// How many come at a time, and how often each tries.
    fn mood(&self) -> (u32, u32) {
        let (mut times, mut tries) = (1.0, 1);
        for effect in self.scenarios.effects() {
            match effect {
                Effect::Load { factor } => times *= factor,
                Effect::Impatience { times } => tries += times,
                _ => {}
            }
        }
        (times.clamp(0.0, 100.0).round() as u32, tries)
    }
    fn read(&self) -> Visit {
        let path = match rand::random_range(0..40) {
            0..16 => "/catalog".to_owned(),
            16..24 => format!("/catalog/{}", CATALOG[rand::random_range(0..CATALOG.len())].0),
            24 => "/catalog/sofa-blue".to_owned(),
            25 => "/orders/o-0".to_owned(),
            _ => match self.some_order() {
                Some(id) => format!("/orders/{id}"),
                None => "/catalog".to_owned(),
            },
        };
        Visit::Read(path)
    }

    fn some_order(&self) -> Option<String> {
        let placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        (!placed.is_empty()).then(|| placed[rand::random_range(0..placed.len())].clone())
    }

    async fn make(&self, visit: Visit, tries: u32) {
        for _ in 0..tries {
            let result = match &visit {
                Visit::Order(order) => self.place(order).await,
                Visit::Read(path) => {
                    self.client.get(format!("{}{path}", self.gateway)).send().await.map(|r| r.status())
                }
            };
            match result {
                Ok(status) if status.is_server_error() => {}
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, ?visit, "a customer left without an answer"),
            }
        }
    }

    async fn place(&self, order: &PlaceOrder) -> reqwest::Result<StatusCode> {
        let response = self.client.post(format!("{}/orders", self.gateway)).json(order).send().await?;
        let status = response.status();
        if status.is_success() {
            let order: Order = response.json().await?;
            let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
            placed.push_back(order.id);
            if placed.len() > REMEMBERED {
                placed.pop_front();
            }
        }
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_order_in_ten_is_declined_and_one_in_25_has_a_slow_bank() {
        let of = |card| (0..1000).filter(|&n| order(n).card == card).count();
        assert_eq!(of(cards::DECLINED), 100);
        assert_eq!(of(cards::SLOW_BANK), 40);
        assert!((0..100).all(|n| !order(n).items.is_empty()));
    }
}
