//! Counting what a device or an address does, and when it may go on.
//!
//! Every key has a bucket of tokens, kept by `governor`. Nobody can fill the memory with keys: those that are full
//! again are forgotten when there are many, and all of them if that is not enough.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{NotUntil, Quota, RateLimiter};

use super::limits::Rate;

/// The most keys that are remembered; each takes about a hundred bytes.
const MOST_KEYS: usize = 100_000;

type Buckets<K, C> = RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A rate, counted for each key apart.
pub(crate) struct Rates<K: Clone + Eq + Hash, C: Clock + Clone = DefaultClock> {
    rate: Option<Rate>,
    clock: C,
    most_keys: usize,
    buckets: RwLock<Option<Buckets<K, C>>>,
}

impl<K: Clone + Eq + Hash> Rates<K> {
    /// Counts against `rate`; without one, everything may be done.
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self::with(rate, DefaultClock::default(), MOST_KEYS)
    }
}

impl<K: Clone + Eq + Hash, C: Clock + Clone> Rates<K, C> {
    fn with(rate: Option<Rate>, clock: C, most_keys: usize) -> Self {
        let buckets = RwLock::new(rate.map(|rate| buckets(rate, &clock)));
        Self { rate, clock, most_keys, buckets }
    }

    /// Counts `many` things that `key` wants to do at once.
    ///
    /// # Errors
    /// It is too much: how long to wait until it is not. Nothing was counted.
    pub(crate) fn count(&self, key: &K, many: usize) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let Some(many) = NonZeroU32::new(u32::try_from(many).unwrap_or(u32::MAX)) else { return Ok(()) };
        self.make_room(rate);
        // A panic elsewhere leaves the buckets whole.
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        let Some(buckets) = &*buckets else { return Ok(()) };
        // What is more than a bucket holds waits until it is full.
        match buckets.check_key_n(key, many.min(rate.burst)) {
            Ok(Err(not_until)) => Err(self.wait(&not_until)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    fn wait(&self, not_until: &NotUntil<C::Instant>) -> Duration {
        not_until.wait_time_from(self.clock.now())
    }

    fn make_room(&self, rate: Rate) {
        let is_full = |buckets: &Option<Buckets<K, C>>| buckets.as_ref().is_some_and(|it| it.len() >= self.most_keys);
        if !is_full(&self.buckets.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = buckets.as_ref().filter(|_| is_full(&buckets)) {
            found.retain_recent();
            // Forgetting only some of them would have to be done again with every call.
            if found.len() > self.most_keys / 2 {
                *buckets = Some(self::buckets(rate, &self.clock));
            }
        }
    }
}

fn buckets<K: Clone + Eq + Hash, C: Clock + Clone>(rate: Rate, clock: &C) -> Buckets<K, C> {
    let period = Duration::from_secs(60) / rate.per_minute.get();
    // No rate is so high that its period is nothing: a minute has more nanoseconds than there are 32-bit numbers.
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(rate.burst)).allow_burst(rate.burst);
    RateLimiter::hashmap_with_clock(quota, C::clone(clock))
}

impl<K: Clone + Eq + Hash, C: Clock + Clone> fmt::Debug for Rates<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn rates(most_keys: usize) -> (Rates<u32, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rates::with(Rate::new(60, 10), clock.clone(), most_keys), clock)
    }

    #[test]
    fn whoever_does_too_much_is_told_how_long_to_wait_and_then_goes_on() {
        let (rates, clock) = rates(100);
        assert_eq!(rates.count(&1, 10), Ok(()));
        let wait = rates.count(&1, 3).expect_err("the bucket is empty");
        assert!(wait > Duration::from_secs(2) && wait <= Duration::from_secs(3), "{wait:?}");
        assert_eq!(rates.count(&2, 10), Ok(()), "another key has its own bucket");
        clock.advance(wait);
        assert_eq!(rates.count(&1, 3), Ok(()));
        assert!(rates.count(&1, 1).is_err());
    }

    #[test]
    fn what_is_more_than_a_bucket_holds_waits_until_it_is_full() {
        let (rates, clock) = rates(100);
        assert_eq!(rates.count(&1, 256), Ok(()));
        assert!(rates.count(&1, 256).is_err());
        clock.advance(Duration::from_secs(10));
        assert_eq!(rates.count(&1, 256), Ok(()));
    }

    #[test]
    fn keys_are_forgotten_before_they_fill_the_memory() {
        let (rates, clock) = rates(100);
        let remembered = |rates: &Rates<u32, FakeRelativeClock>| {
            rates.buckets.read().expect("whole").as_ref().expect("there is a rate").len()
        };
        for key in 0..1_000 {
            assert_eq!(rates.count(&key, 10), Ok(()));
            assert!(remembered(&rates) <= 100);
        }
        // Buckets that are full again are forgotten alone.
        clock.advance(Duration::from_secs(600));
        for key in 2_000..2_095 {
            assert_eq!(rates.count(&key, 10), Ok(()));
            clock.advance(Duration::from_secs(60));
        }
        assert_eq!(rates.count(&3_000, 10), Ok(()));
        for key in 4_000..4_050 {
            assert_eq!(rates.count(&key, 1), Ok(()));
        }
        assert!(rates.count(&3_000, 10).is_err(), "it is still remembered");
    }

    #[test]
    fn without_a_rate_nothing_is_counted() {
        let rates: Rates<u32> = Rates::new(None);
        for _ in 0..1_000 {
            assert_eq!(rates.count(&1, 1_000), Ok(()));
        }
    }
}
