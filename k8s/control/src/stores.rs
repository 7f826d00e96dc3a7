//! The fleet as its stores tell it: what no API server knows, and every gate asks.

use async_trait::async_trait;

/// Asks the stores. The program that knows how to talk to them implements it.
#[async_trait]
pub trait Stores: Send + Sync {
    /// The fleet as its stores tell it, within a deadline of its own.
    async fn view(&self) -> StoreView;

    /// Whether the stores of these pods may be stopped for good.
    async fn may_remove(&self, pods: &[String]) -> Result<(), Kept> {
        match self.view().await {
            StoreView::NotFounded => Ok(()),
            StoreView::Unknown(why) => Err(Kept::Unknown(why)),
            StoreView::Known(fleet) => fleet.may_remove(pods),
        }
    }
}

/// What the stores say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreView {
    /// The stores wait for `holdfast init`: there is no data that could be lost.
    NotFounded,
    /// They answered.
    Known(FleetView),
    /// Nobody answered, and why.
    Unknown(String),
}

/// A fleet that was founded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FleetView {
    /// Its stores.
    pub stores: Vec<StoreLine>,
    /// What speaks against taking anything away now.
    pub troubles: Vec<Trouble>,
    /// How many ranges it has.
    pub ranges: usize,
    /// Of these, led ones.
    pub ranges_led: usize,
}

/// One store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreLine {
    /// Its id: `s4`.
    pub store: String,
    /// Its pod, by the address that it advertises; `None`: it runs elsewhere.
    pub pod: Option<String>,
    /// Its site.
    pub site: String,
    /// It answers.
    pub is_alive: bool,
    /// It hands its leaders over to be stopped.
    pub is_draining: bool,
    /// Somebody said that it leaves the fleet: placement gives it nothing any more.
    pub is_leaving: bool,
    /// Replicas there.
    pub replicas: u64,
    /// Of these, leaders.
    pub leaders: u64,
    /// The version of its program.
    pub version: String,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// The pod of the one store that all of it comes from; `None`: more than one, or none.
    pub pod: Option<String>,
    /// What.
    pub what: String,
}

/// Why stores may not be stopped for good.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// They hold replicas, or may be given some at any time.
    #[error("{}", drain(.0))]
    NotDrained(Vec<StoreLine>),
    /// Nobody could be asked.
    #[error("whether they are drained is not known: {0}")]
    Unknown(String),
}

fn drain(stores: &[StoreLine]) -> String {
    let one = |store: &StoreLine| {
        let pod = store.pod.as_deref().unwrap_or("?");
        let StoreLine { store, replicas, .. } = store;
        format!("{store} ({pod}) holds {replicas} replicas: `holdfast drain {store}` first")
    };
    stores.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl StoreLine {
    /// It has nothing, and will not be given anything.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_leaving && self.replicas == 0
    }
}

impl FleetView {
    /// Stores that leave the fleet and are empty may go; so may pods that no store was ever in.
    pub fn may_remove(&self, pods: &[String]) -> Result<(), Kept> {
        let is_among = |store: &&StoreLine| pods.iter().any(|pod| pod.contains(&format!("-{}-", store.site)));
        if let Some(store) =
            self.stores.iter().filter(|store| store.pod.is_none() && !store.is_drained()).find(is_among)
        {
            let why =
                format!("{} in {} advertises an address of no pod, so it may be one of them", store.store, store.site);
            return Err(Kept::Unknown(why));
        }
        let named = |store: &&StoreLine| store.pod.as_ref().is_some_and(|pod| pods.contains(pod));
        let kept: Vec<_> = self.stores.iter().filter(named).filter(|store| !store.is_drained()).cloned().collect();
        if kept.is_empty() { Ok(()) } else { Err(Kept::NotDrained(kept)) }
    }

    /// The store of a pod.
    #[must_use]
    pub fn of_pod(&self, pod: &str) -> Option<&StoreLine> {
        self.stores.iter().find(|store| store.pod.as_deref() == Some(pod))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> FleetView {
        let store = |id: &str, pod: &str, replicas| StoreLine {
            store: id.into(),
            pod: Some(pod.into()),
            is_leaving: true,
            replicas,
            ..StoreLine::default()
        };
        FleetView { stores: vec![store("s1", "prod-a-0", 3), store("s2", "prod-a-1", 0)], ..FleetView::default() }
    }

    #[test]
    fn a_store_with_replicas_is_kept_and_the_message_says_what_to_do() {
        let kept = fleet().may_remove(&["prod-a-0".into(), "prod-a-1".into()]).unwrap_err();
        assert_eq!(kept.to_string(), "s1 (prod-a-0) holds 3 replicas: `holdfast drain s1` first");
    }

    #[test]
    fn a_store_whose_pod_is_not_known_may_be_any_of_its_site() {
        let mut fleet = fleet();
        let stranger = StoreLine { store: "s9".into(), site: "b".into(), replicas: 1, ..StoreLine::default() };
        fleet.stores.push(stranger);
        assert_eq!(fleet.may_remove(&["prod-a-1".into()]), Ok(()));
        assert!(matches!(fleet.may_remove(&["prod-b-1".into()]), Err(Kept::Unknown(_))));
    }

    #[test]
    fn an_empty_store_that_stays_may_be_given_something_at_any_time() {
        let mut fleet = fleet();
        fleet.stores[1].is_leaving = false;
        assert!(matches!(fleet.may_remove(&["prod-a-1".into()]), Err(Kept::NotDrained(_))));
    }

    #[test]
    fn drained_stores_and_empty_pods_may_go() {
        assert_eq!(fleet().may_remove(&["prod-a-1".into(), "prod-a-7".into()]), Ok(()));
    }
}
