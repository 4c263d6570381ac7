//! Rates of operations, calls and services: the tail's tables, then one page of each run.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::StoreError;
use super::super::damage::if_readable;
use super::super::engine::Shared;
use super::super::rates::{
    self, Call, CallSteps, Calls, InstanceRates, Instances, OperationRates, Operations, Place, Rates,
    ServiceRates, Services, Sink, Steps, Way, What,
};
use super::super::run::RunMeta;
use super::ahead::{PAGES_AT_ONCE, Pages};
use crate::dashboard::model::Nanos;

impl Shared {
    pub(super) async fn operations(
        &self,
        from: Nanos,
        to: Nanos,
        service: Option<&str>,
    ) -> Result<Vec<OperationRates>, StoreError> {
        let mut sums = Operations::new(from, to, service);
        self.gather(What::Operations, (from, to), |place| place.tier(from, to), &mut sums).await?;
        Ok(sums.finish())
    }

    pub(super) async fn calls(&self, from: Nanos, to: Nanos) -> Result<Vec<Call>, StoreError> {
        let mut sums = Calls::new(from, to);
        self.gather(What::Calls, (from, to), |place| place.tier(from, to), &mut sums).await?;
        Ok(sums.finish())
    }

    pub(super) async fn service_rates(
        &self,
        from: Nanos,
        to: Nanos,
        steps: usize,
    ) -> Result<Vec<ServiceRates>, StoreError> {
        let steps = Steps::over(from, to, steps);
        let mut sums = Services::new(steps);
        self.gather(What::Operations, steps.range(), |_| steps.tier, &mut sums).await?;
        Ok(sums.finish())
    }

    pub(super) async fn call_rates(
        &self,
        from: Nanos,
        to: Nanos,
        steps: usize,
        ways: &HashSet<Way>,
    ) -> Result<Vec<(Nanos, Rates)>, StoreError> {
        let steps = Steps::over(from, to, steps);
        let mut sums = CallSteps::new(steps, ways);
        self.gather(What::Calls, steps.range(), |_| steps.tier, &mut sums).await?;
        Ok(sums.finish())
    }

    pub(super) async fn instance_rates(
        &self,
        from: Nanos,
        to: Nanos,
        steps: usize,
        service: Option<&str>,
    ) -> Result<Vec<InstanceRates>, StoreError> {
        let steps = Instances::steps(from, to, steps);
        let mut sums = Instances::new(steps, service);
        self.gather(What::Instances, steps.range(), |_| steps.tier, &mut sums).await?;
        Ok(sums.finish())
    }

    /// Adds up what the tail and the runs know of a range.
    async fn gather(
        &self,
        what: What,
        (from, to): (Nanos, Nanos),
        tier: impl Fn(Place) -> usize + Send,
        sink: &mut (impl Sink + Send),
    ) -> Result<(), StoreError> {
        let runs: Arc<Vec<Arc<RunMeta>>> = {
            let index = self.index.read().expect("no holder panics");
            index.tail.rates().read(what, sink);
            index.runs.clone()
        };
        let wanted = runs.iter().filter(|run| run.rates.overlaps(from, to));
        let wanted = wanted.filter_map(|run| Some((run.id, run.rates.page(what, tier(run.rates))?)));
        let wanted: Vec<(u64, u32)> = wanted.collect();
        for some in wanted.chunks(PAGES_AT_ONCE) {
            let ahead = Pages::of_parts(if_readable(self.backend.pages_at(some).await)?);
            for &(run, number) in some {
                let read = match ahead.page(run, number) {
                    Some(page) => rates::read(page, sink)
                        .map_err(|error| self.at(&format!("run {run}, page {number}"), error)),
                    // Damaged, it is named by who reads it alone.
                    None => self.read_page(run, number, |page| rates::read(page, sink)).await.map(drop),
                };
                self.left_out(read)?;
            }
        }
        Ok(())
    }
}
