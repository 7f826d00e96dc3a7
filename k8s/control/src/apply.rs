//! Writes what is rendered, one site at a time, with a gate behind each.
//!
//! - Before anything is written the site must have the UID of the fleet file, and every object must have passed a dry run.
//! - What one site refuses, or does not answer, keeps no other site from its turn. What a site does not recover from does: a gate that stays shut ends
//!   the whole apply, because the next site would be the second in trouble.
//! - Nothing is deleted, but for old configurations of the same site, when that is asked for.

use std::time::Duration;

use holdfast_k8s::Fleet;
use holdfast_k8s::render::admission::DRAINED_TO;
use tokio::time::{Instant, sleep, timeout};

use crate::connect::{Limits, Reach};
use crate::failure::Failure;
use crate::gate::{self, Gate, Look, SiteView};
use crate::link::{Link, Mode};
use crate::objects::{Address, MANAGER, Object};
use crate::plan::{self, ObjectPlan, Verdict};
use crate::rollout::{self, Next};
use crate::stores::{Kept, StoreView, Stores};
use crate::sync::{self, Say};
use crate::views::SetView;
use crate::{kinds, prune};

/// What is asked for beside the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// This site alone.
    pub only: Option<String>,
    /// Take fields over from other managers.
    pub takes_over: bool,
    /// Delete configurations that no pod of the site uses any more.
    pub prunes: bool,
}

/// One apply.
pub struct Run<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// All its sites; those that are not applied to are asked for addresses.
    pub reaches: &'a [Reach],
    /// The stores.
    pub stores: &'a dyn Stores,
    /// How long to wait.
    pub limits: Limits,
    /// What is asked for.
    pub options: Options,
    /// Hears what happens.
    pub say: Say<'a>,
}

/// What came of one site.
#[derive(PartialEq, Debug)]
pub struct Applied {
    /// The site.
    pub site: String,
    /// Objects that were written.
    pub written: Vec<Address>,
    /// Pods that were replaced.
    pub replaced: Vec<u32>,
    /// Configurations that were deleted.
    pub pruned: Vec<Address>,
    /// How it ended.
    pub ended: Ended,
}

/// How a site ended.
#[derive(PartialEq, Debug)]
pub enum Ended {
    /// It is as it is wanted.
    Done,
    /// It did not answer, or refused something.
    Failed(Failure),
    /// Objects that the API server would not take as they are; nothing was written but perhaps the namespace.
    Refused(Vec<ObjectPlan>),
    /// Stores would go that hold data; nothing was written.
    Kept(Kept),
    /// It did not settle in time, and why.
    Shut(Vec<String>),
    /// Another site's trouble ended the apply before.
    NotReached,
}

impl Applied {
    fn new(site: &str) -> Self {
        let (written, replaced, pruned) = (Vec::new(), Vec::new(), Vec::new());
        Self { site: site.to_owned(), written, replaced, pruned, ended: Ended::Done }
    }
}

/// Applies the fleet file. Pods that are replaced have other addresses, which the fleet must learn before it can count them; so they are mirrored
/// meanwhile.
pub async fn apply(run: &Run<'_>) -> Vec<Applied> {
    if !run.fleet.is_mirrored() {
        return run.sites().await;
    }
    let applied = tokio::select! {
        applied = run.sites() => applied,
        () = sync::watch(run.fleet, run.reaches, None, run.say) => unreachable!("it is kept up until it is dropped"),
    };
    // What the last pod's replacement changed.
    let _ = timeout(run.limits.site, sync::once(run.fleet, run.reaches, None)).await;
    applied
}

impl Run<'_> {
    async fn sites(&self) -> Vec<Applied> {
        let only = self.options.only.as_ref();
        let mut all = Vec::new();
        let mut is_over = false;
        for reach in self.reaches.iter().filter(|reach| only.is_none_or(|only| *only == reach.site.name)) {
            let mut applied = Applied::new(&reach.site.name);
            applied.ended = if is_over { Ended::NotReached } else { self.site(reach, &mut applied).await };
            is_over |= self.ends_it(&applied).await;
            all.push(applied);
        }
        all
    }

    fn say(&self, site: &str, line: &str) {
        (self.say)(site, line);
    }

    /// Whether a site's end is the end of all.
    async fn ends_it(&self, applied: &Applied) -> bool {
        match &applied.ended {
            Ended::Shut(_) => true,
            // It is lost sight of, half written: go on only when the stores say that all is well.
            Ended::Failed(_) if !applied.written.is_empty() => {
                self.await_gate(&applied.site, async || gate::troubles(&self.ask_stores().await, None)).await.is_err()
            }
            _ => false,
        }
    }

    async fn site(&self, reach: &Reach, applied: &mut Applied) -> Ended {
        match self.try_site(reach, applied).await {
            Ok(()) => Ended::Done,
            Err(Stop::Failed(failure)) => Ended::Failed(failure),
            Err(Stop::Ended(ended)) => ended,
        }
    }

    async fn try_site(&self, reach: &Reach, applied: &mut Applied) -> Result<(), Stop> {
        let site = &reach.site.name;
        let link = reach.link.as_ref().map_err(Clone::clone)?;
        link.check_uid().await?;
        let wanted = plan::rendered(self.fleet, site)?;
        let set = set_address(self.fleet, reach);
        self.may_shrink(link, &set, &wanted).await?;
        self.make_namespace(link, &wanted, applied).await?;
        let mut plans = plan::look_at(link, wanted).await?;
        plan::keep_partition(link, &mut plans).await?;
        self.write(link, plans, applied).await?;
        self.roll(reach, link, &set, applied).await?;
        if !applied.written.is_empty() || !applied.replaced.is_empty() {
            self.say(site, "waiting until it has settled");
            let shut = |reasons| Stop::Ended(Ended::Shut(reasons));
            self.await_gate(site, async || self.unsettled(reach, link, &set).await).await.map_err(shut)?;
            if self.ask_stores().await == StoreView::NotFounded {
                self.say(site, "its stores run and wait: the fleet is not founded yet (`holdfast init`, once)");
            }
        }
        if self.options.prunes {
            applied.pruned = prune::prune(self.fleet, &reach.site, link, &set).await?;
        }
        Ok(())
    }

    /// Refuses fewer stores than there are, unless those that would go are empty.
    async fn may_shrink(&self, link: &Link, set: &Address, wanted: &[Object]) -> Result<(), Stop> {
        let Some(live) = link.get(set).await? else { return Ok(()) };
        let before = SetView::of(&live).replicas;
        let after =
            wanted.iter().find(|object| object.address == *set).map_or(0, |object| SetView::of(&object.body).replicas);
        let going: Vec<_> = (after..before).map(|ordinal| format!("{}-{ordinal}", set.name)).collect();
        if going.is_empty() {
            return Ok(());
        }
        self.stores.may_remove(&going).await.map_err(|kept| Stop::Ended(Ended::Kept(kept)))
    }

    /// Without a namespace no other object can be tried.
    async fn make_namespace(&self, link: &Link, wanted: &[Object], applied: &mut Applied) -> Result<(), Stop> {
        for object in wanted.iter().filter(|object| object.address.kind.kind == "Namespace") {
            if link.get(&object.address).await?.is_none() {
                link.apply(object, self.mode()).await?;
                self.say(&link.site, &format!("created {}", object.address));
                applied.written.push(object.address.clone());
            }
        }
        Ok(())
    }

    fn mode(&self) -> Mode {
        Mode { is_dry: false, takes_over: self.options.takes_over, manager: MANAGER }
    }

    async fn write(&self, link: &Link, plans: Vec<ObjectPlan>, applied: &mut Applied) -> Result<(), Stop> {
        let is_refused = |plan: &ObjectPlan| match &plan.verdict {
            Verdict::Conflict(..) => !self.options.takes_over,
            verdict => matches!(verdict, Verdict::NotAllowed(_) | Verdict::Failed(_)),
        };
        let (refused, rest): (Vec<_>, Vec<_>) = plans.into_iter().partition(is_refused);
        if !refused.is_empty() {
            return Err(Stop::Ended(Ended::Refused(refused)));
        }
        for plan in rest.into_iter().filter(|plan| plan.verdict != Verdict::Unchanged) {
            let verb = match plan.verdict {
                Verdict::Create { .. } => "created",
                Verdict::Adopt => "adopted",
                _ => "changed",
            };
            let mut object = plan.object;
            link.apply(&object, self.mode()).await?;
            self.say(&link.site, &format!("{verb} {}", object.address));
            // The word that stores are drained was for this time only.
            if object.body["metadata"]["annotations"].as_object_mut().and_then(|all| all.remove(DRAINED_TO)).is_some() {
                link.apply(&object, self.mode()).await?;
            }
            applied.written.push(object.address);
        }
        Ok(())
    }

    /// Brings a changed template to all pods, one by one.
    async fn roll(&self, reach: &Reach, link: &Link, set: &Address, applied: &mut Applied) -> Result<(), Stop> {
        let (mut gate, mut began) = (Gate::new(self.limits.gate), Instant::now());
        let mut said = Vec::new();
        loop {
            let view = self.view(reach, link, set).await;
            let next = view.as_ref().map_or_else(|failure| Next::Wait(vec![failure.to_string()]), rollout::next);
            let reasons = match (&next, &view) {
                (Next::Done, _) => return Ok(()),
                (Next::Rest, _) => {
                    self.lower(link, set, None).await?;
                    Vec::new()
                }
                (Next::Replace(ordinal), Ok(view)) => view.against_replacing(*ordinal),
                (Next::Wait(reasons), _) => reasons.clone(),
                (Next::Replace(_), Err(failure)) => vec![failure.to_string()],
            };
            self.say_once(&link.site, &reasons, &mut said);
            match (gate.look(&reasons, began.elapsed()), &next) {
                (Look::Late, _) => return Err(Stop::Ended(Ended::Shut(reasons))),
                (Look::Open, Next::Replace(ordinal)) => {
                    self.say(&link.site, &format!("replacing {}-{ordinal}", set.name));
                    self.lower(link, set, Some(*ordinal)).await?;
                    applied.replaced.push(*ordinal);
                    (gate, began) = (Gate::new(self.limits.gate), Instant::now());
                }
                _ => {}
            }
            sleep(self.limits.poll).await;
        }
    }

    fn say_once(&self, site: &str, reasons: &[String], said: &mut Vec<String>) {
        if !reasons.is_empty() && reasons != said.as_slice() {
            self.say(site, &format!("waiting: {}", reasons.join("; ")));
            *said = reasons.to_vec();
        }
    }

    /// Sets the partition; `None`: above all pods.
    async fn lower(&self, link: &Link, set: &Address, partition: Option<u32>) -> Result<(), Failure> {
        let wanted = plan::rendered(self.fleet, &link.site)?;
        for mut object in wanted.into_iter().filter(|object| object.address == *set) {
            if let Some(partition) = partition {
                plan::set_partition(&mut object.body, partition);
            }
            link.apply(&object, self.mode()).await?;
        }
        Ok(())
    }

    async fn unsettled(&self, reach: &Reach, link: &Link, set: &Address) -> Vec<String> {
        let view = self.view(reach, link, set).await;
        view.map_or_else(|failure| vec![failure.to_string()], |view| view.unsettled())
    }

    /// Looks at a site.
    async fn view(&self, reach: &Reach, link: &Link, set: &Address) -> Result<SiteView, Failure> {
        let live = link.get(set).await?;
        let pods = sync::pods(self.fleet, &reach.site, link).await?;
        Ok(SiteView { set: live.as_ref().map(SetView::of), pods, stores: self.ask_stores().await })
    }

    async fn ask_stores(&self) -> StoreView {
        let late = || StoreView::Unknown(format!("no answer within {:?}", self.limits.site));
        timeout(self.limits.site, self.stores.view()).await.unwrap_or_else(|_| late())
    }

    /// Looks until nothing speaks against going on. Returns what still does when patience ends.
    async fn await_gate(&self, site: &str, look: impl AsyncFn() -> Vec<String>) -> Result<(), Vec<String>> {
        let (mut gate, began, mut said) = (Gate::new(self.limits.gate), Instant::now(), Vec::new());
        loop {
            let reasons = look().await;
            self.say_once(site, &reasons, &mut said);
            match gate.look(&reasons, began.elapsed()) {
                Look::Open => return Ok(()),
                Look::Late => return Err(reasons),
                Look::Wait => sleep(self.limits.poll.max(Duration::from_millis(1))).await,
            }
        }
    }
}

/// Why a site is left.
enum Stop {
    Failed(Failure),
    Ended(Ended),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Where the StatefulSet of a site is.
#[must_use]
pub fn set_address(fleet: &Fleet, reach: &Reach) -> Address {
    let kind = kinds::of("StatefulSet").expect("it is in the table");
    Address::within(kind, &fleet.namespace, &fleet.set_name(&reach.site))
}
