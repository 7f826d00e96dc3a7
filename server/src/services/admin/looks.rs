//! Events of all stores, and the settings of one.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeSet;

use holdfast_client::channel::StoreChannel;
use holdfast_proto::convert::admin::is_plausible;
use holdfast_proto::v1;
use holdfast_proto::v1::admin_client::AdminClient;
use holdfast_types::{StoreId, Timestamp, limits};
use tonic::Status;

use super::AdminService;
use crate::events::merge;
use crate::running::Running;
use crate::services::fitting::short;

/// Events of one answer when the caller names no limit.
const EVENTS_DEFAULT: u32 = 100;

impl AdminService {
    /// The newest events, of this store or of all.
    pub(super) async fn events(
        &self,
        running: &Running,
        request: v1::ListEventsRequest,
    ) -> Result<v1::ListEventsResponse, Status> {
        let limit = if request.limit == 0 { EVENTS_DEFAULT } else { request.limit };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(limits::EVENTS_KEPT);
        let (mut events, mut more) = running.events.newest(limit, Timestamp::compared(request.since));
        if request.only_this_store {
            return Ok(v1::ListEventsResponse { events, more, silent: Vec::new() });
        }
        let asked = v1::ListEventsRequest { only_this_store: true, ..request };
        let call = move |mut client: AdminClient<StoreChannel>| async move { client.list_events(asked).await };
        // Each answer may be large, and there may be many: what is beyond the limit is let go as they come.
        let take = |_, answer: v1::ListEventsResponse| {
            let told = answer.events.into_iter().filter(is_plausible).take(limit);
            events.extend(told.map(|event| v1::Event { message: short(event.message), ..event }));
            let (merged, left_out) = merge(std::mem::take(&mut events), limit);
            events = merged;
            more |= answer.more || left_out;
        };
        let silent = self.others.ask_each(running, &BTreeSet::new(), call, take).await?;
        let (events, left_out) = merge(events, limit);
        Ok(v1::ListEventsResponse { events, more: more || left_out, silent })
    }

    /// The configuration of one store.
    pub(super) async fn settings(
        &self,
        running: &Running,
        request: v1::ListSettingsRequest,
    ) -> Result<v1::ListSettingsResponse, Status> {
        let store = super::bounded(StoreId::bounded(request.store_id))?;
        if store == StoreId::NONE || store == running.store_id {
            let (store_id, site) = (running.store_id.0, running.site.to_string());
            return Ok(v1::ListSettingsResponse { settings: self.settings.clone(), store_id, site });
        }
        let record = running.directory.all().get(&store).cloned();
        let record = record.ok_or_else(|| Status::not_found(format!("{store} is no store of this fleet")))?;
        let answer = self.others.ask(&record, |mut client| async move { client.list_settings(request).await }).await;
        answer.map_err(|status| Status::unavailable(format!("{store} does not answer: {}", status.message())))
    }
}
