//! The consumptions of a batch of requests, which are decided after its orders.

use super::{SyncJob, Writer};
use crate::protocol::problem::ProblemType;
use crate::server::ledger::{ConsumptionOutcome, VerifiedConsumption};
use crate::server::problem::Refusal;

impl Writer {
    /// Decides the consumptions of requests. Gives for each request why it is refused, if it is. What is decided is told
    /// by the feed, so where the books fail nobody is refused: the devices send them again with their next requests.
    pub(super) fn consume(&mut self, jobs: &mut [SyncJob]) -> Vec<Option<Refusal>> {
        let counts: Vec<usize> = jobs.iter().map(|job| job.consumptions.len()).collect();
        let mut batch: Vec<VerifiedConsumption> = Vec::new();
        for job in jobs.iter_mut() {
            batch.append(&mut job.consumptions);
        }
        let nobody = || counts.iter().map(|_| None).collect();
        if batch.is_empty() {
            // Most requests hold none: that takes no write lock.
            return nobody();
        }
        let outcomes = match self.ledger.consume(&batch, &mut self.signer, self.clock.now()) {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::error!("`{}` consumptions were not decided: `{error}`", batch.len());
                return nobody();
            }
        };
        self.watch.changed(batch.iter().map(|one| &one.consumption().account));
        outcomes.iter().for_each(|outcome| self.metrics.count_consumption(*outcome));
        let mut outcomes = outcomes.into_iter();
        let each = jobs.iter_mut().zip(counts);
        each.map(|(job, count)| {
            let outcomes: Vec<_> = outcomes.by_ref().take(count).collect();
            job.undecided = outcomes.contains(&ConsumptionOutcome::Undecided);
            refusal(&outcomes)
        })
        .collect()
    }
}

fn refusal(outcomes: &[ConsumptionOutcome]) -> Option<Refusal> {
    outcomes.iter().enumerate().find_map(|(index, outcome)| match outcome {
        ConsumptionOutcome::Conflict => {
            let detail = format!("consumption {index}: its id was used before for another one; give each its own id");
            Some(Refusal::new(ProblemType::ConsumptionConflict, detail))
        }
        ConsumptionOutcome::Failed => Some(Refusal::internal()),
        // Why nothing is decided for the device is told when it is asked how it stands.
        ConsumptionOutcome::Settled { .. }
        | ConsumptionOutcome::Replayed
        | ConsumptionOutcome::Undecided
        | ConsumptionOutcome::NotMember => None,
    })
}
