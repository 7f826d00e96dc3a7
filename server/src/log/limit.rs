//! How often a line of one kind is written. Others cause most lines: a store that is refused tries again, whoever reaches a port may call it
//! ten thousand times a second. No place that logs has to think of that; all lines pass here.
//!
//! - A *kind* is the place in the code that logs: its lines differ in their values only.
//! - Of one kind each store has its own allowance, so that one store, however loud, hides nothing about another. Which store a line is about
//!   its field `store` says. Only what a store has proved, or what this one found out itself, is called so: what a caller claims has
//!   another name, and so all strangers share one allowance.
//! - What is held back is counted, and told every [`limits::LOG_HELD_BACK_EVERY`]: "and 4123 more like it".
//! - What is logged for debugging is not limited: whoever asks for it wants all of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use holdfast_edge::bucket::Bucket;
use holdfast_types::limits;
use parking_lot::{Mutex, RwLock};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Letters of the first line held back that stand for all of them.
const LIKE_LETTERS: usize = 160;
/// The kind of line that tells of all others.
const HELD_BACK: &str = "holdfast::log::held_back";

/// The allowances of all kinds. There are as many as places in the code that have logged.
#[derive(Default)]
pub(super) struct Limit {
    kinds: RwLock<HashMap<Identifier, Arc<Mutex<Kind>>>>,
    held_back: AtomicU64,
}

struct Kind {
    place: &'static Metadata<'static>,
    /// Of lines about no store, and about stores beyond [`limits::LOG_KIND_STORES`].
    shared: Bucket,
    /// Of lines about one store, by a hash of what it is called. A full one is as good as none, and goes when there are too many.
    stores: BTreeMap<u64, Bucket>,
    held_back: u64,
    /// What the first of them said.
    like: String,
}

impl Limit {
    /// Lines held back so far.
    pub(super) fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let place = event.metadata();
        // The audit bounds its own lines, each of which must be here.
        if *place.level() > Level::INFO || [HELD_BACK, crate::audit::TARGET].contains(&place.target()) {
            return true;
        }
        let kind = self.kind(place, now);
        let store = AboutStore::of(event);
        let mut kind = kind.lock();
        let passes = kind.bucket(store, now).admits(limits::LOG_KIND_BURST, limits::LOG_KIND_EVERY, now);
        if !passes {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            if kind.held_back == 0 {
                kind.like = Said::of(event);
            }
            kind.held_back += 1;
        }
        passes
    }

    fn kind(&self, place: &'static Metadata<'static>, now: Instant) -> Arc<Mutex<Kind>> {
        if let Some(kind) = self.kinds.read().get(&place.callsite()) {
            return Arc::clone(kind);
        }
        let new =
            || Kind { place, shared: Bucket::new(now), stores: BTreeMap::new(), held_back: 0, like: String::new() };
        Arc::clone(self.kinds.write().entry(place.callsite()).or_insert_with(|| Arc::new(Mutex::new(new()))))
    }

    /// Tells how many lines of each kind were held back since it was told last.
    pub(super) fn tell_held_back(&self) {
        let kinds: Vec<_> = self.kinds.read().values().cloned().collect();
        for kind in kinds {
            let (more, like, place) = {
                let mut kind = kind.lock();
                (std::mem::take(&mut kind.held_back), std::mem::take(&mut kind.like), kind.place)
            };
            if more > 0 {
                let (target, line) = (place.target(), place.line());
                tracing::warn!(target: HELD_BACK, like, place = target, line, "and {more} more like it");
            }
        }
    }
}

impl Kind {
    fn bucket(&mut self, store: Option<u64>, now: Instant) -> &mut Bucket {
        let Some(store) = store else { return &mut self.shared };
        if !self.stores.contains_key(&store) && self.stores.len() >= limits::LOG_KIND_STORES {
            self.stores.retain(|_, bucket| !bucket.is_full(now));
            if self.stores.len() >= limits::LOG_KIND_STORES {
                return &mut self.shared;
            }
        }
        self.stores.entry(store).or_insert_with(|| Bucket::new(now))
    }
}

/// The limit as a filter of the subscriber.
pub(super) struct Limited(pub(super) Arc<Limit>);

impl<S> Filter<S> for Limited {
    fn enabled(&self, _place: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _place: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        self.0.admits(event, Instant::now())
    }
}

/// Which store a line is about, as a hash of its field `store`.
struct AboutStore(Option<u64>);

impl AboutStore {
    fn of(event: &Event<'_>) -> Option<u64> {
        let mut about = Self(None);
        event.record(&mut about);
        about.0
    }
}

impl Visit for AboutStore {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "store" {
            let mut hash = Hashed(DefaultHasher::new());
            write!(hash, "{value:?}").expect("a hash takes all");
            self.0 = Some(hash.0.finish());
        }
    }
}

struct Hashed(DefaultHasher);

impl fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The words of a line, cut to [`LIKE_LETTERS`].
struct Said(String);

impl Said {
    fn of(event: &Event<'_>) -> String {
        let mut said = Self(String::new());
        event.record(&mut said);
        said.0
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let said = format!("{value:?}");
            self.0 = said.chars().take(LIKE_LETTERS).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing::Subscriber;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry::Registry;

    use super::*;

    /// Asks a limit at moments of the test's choosing, and keeps the words of what passes.
    struct Asked {
        limit: Arc<Limit>,
        now: Arc<Mutex<Instant>>,
        passed: Arc<Mutex<Vec<String>>>,
    }

    impl<S: Subscriber> Layer<S> for Asked {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            if self.limit.admits(event, *self.now.lock()) {
                self.passed.lock().push(Said::of(event));
            }
        }
    }

    /// Runs `log` with a limit and a clock; returns the words of what passed.
    fn passed(log: impl FnOnce(&Limit, &Mutex<Instant>)) -> Vec<String> {
        let (limit, now) = (Arc::<Limit>::default(), Arc::new(Mutex::new(Instant::now())));
        let passed = Arc::<Mutex<Vec<String>>>::default();
        let asked = Asked { limit: Arc::clone(&limit), now: Arc::clone(&now), passed: Arc::clone(&passed) };
        tracing::subscriber::with_default(Registry::default().with(asked), || log(&limit, &now));
        passed.lock().clone()
    }

    fn count(passed: &[String], words: &str) -> usize {
        passed.iter().filter(|said| *said == words).count()
    }

    const BURST: usize = limits::LOG_KIND_BURST as usize;

    #[test]
    fn each_store_has_its_own_allowance_and_strangers_share_one() {
        let passed = passed(|_, _| {
            for _ in 0..1_000 {
                for store in 0..3_u64 {
                    tracing::warn!(store, "about s{store}");
                }
            }
            for claimed in 0..10_000_u64 {
                tracing::warn!(claimed, "a stranger");
            }
        });
        for store in 0..3 {
            assert_eq!(count(&passed, &format!("about s{store}")), BURST);
        }
        assert_eq!(count(&passed, "a stranger"), BURST);
    }

    #[test]
    fn however_many_stores_there_are_few_are_remembered_and_all_lines_are_bounded() {
        let passed = passed(|limit, now| {
            let log = |from: u64| (from..from + 100_000).for_each(|store| tracing::warn!(store, "about a store"));
            log(0);
            let kinds = limit.kinds.read();
            let kind = kinds.values().next().unwrap();
            assert_eq!(kind.lock().stores.len(), limits::LOG_KIND_STORES);
            // Once all is quiet for long, other stores have their turn.
            *now.lock() += limits::LOG_KIND_EVERY * limits::LOG_KIND_BURST;
            drop(kinds);
            log(1_000_000);
        });
        // Each of those that are remembered says one line, all others share.
        assert_eq!(count(&passed, "about a store"), 2 * (limits::LOG_KIND_STORES + BURST));
    }

    #[test]
    fn lines_of_the_audit_are_bounded_where_they_come_from_and_not_here() {
        let passed = passed(|_, _| (0..10 * BURST).for_each(|_| tracing::info!(target: "audit", "split-range")));
        assert_eq!(count(&passed, "split-range"), 10 * BURST);
    }

    #[test]
    fn what_is_held_back_is_told_with_its_number_and_what_is_for_debugging_is_not_held_back() {
        let passed = passed(|limit, now| {
            (0..BURST + 7).for_each(|_| tracing::error!("refused"));
            (0..5 * BURST).for_each(|_| tracing::debug!("detail"));
            limit.tell_held_back();
            limit.tell_held_back();
            *now.lock() += limits::LOG_KIND_EVERY + Duration::from_millis(1);
            (0..2).for_each(|_| tracing::error!("later"));
            assert_eq!(limit.held_back(), 7);
        });
        assert_eq!(count(&passed, "refused"), BURST);
        assert_eq!(count(&passed, "detail"), 5 * BURST);
        assert_eq!(count(&passed, "and 7 more like it"), 1);
        assert_eq!(count(&passed, "later"), 2, "it is a kind of its own");
    }
}
