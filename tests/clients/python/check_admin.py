"""Admin: what operators see and change."""

from checks import equal, refused
from grpc import StatusCode
from holdfast.v1 import admin_pb2, common_pb2

# Where the keys of the other checks are cut, so that they lie in several ranges.
CUTS = ["rows/m", "scan/030", "sweep/030"]


def a_range_is_split_once_at_a_key(world):
    for name in CUTS:
        key = world.raw_key(name)
        split = world.admin.SplitRange(admin_pb2.SplitRangeRequest(key=key))
        assert split.changed
        again = world.admin.SplitRange(admin_pb2.SplitRangeRequest(key=key))
        assert not again.changed, "a range begins there already: a success, and no change"
        ranges = world.admin.ListRanges(admin_pb2.ListRangesRequest(bounds=common_pb2.KeyRange(start=key), limit=1))
        equal(ranges.ranges[0].descriptor.bounds.start, key)


def splits_that_make_no_sense_are_refused(world):
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid", world.admin.SplitRange)
    refused(*invalid, admin_pb2.SplitRangeRequest())
    refused(*invalid, admin_pb2.SplitRangeRequest(key=b"\x00\x00"))
    stale = common_pb2.RangeEpoch(membership=0, bounds=1 << 40)
    request = admin_pb2.SplitRangeRequest(key=world.raw_key("rows/n"), expected_epoch=stale)
    refused(StatusCode.FAILED_PRECONDITION, None, world.admin.SplitRange, request)


def sites_and_stores_are_listed(world):
    sites = world.admin.ListSites(admin_pb2.ListSitesRequest())
    assert len(sites.sites) >= 3 and sites.now > 0 and sites.fleet.low
    for site in sites.sites:
        assert site.name and site.alive == site.stores and site.replicas > 0
    stores = world.admin.ListStores(admin_pb2.ListStoresRequest())
    equal(list(stores.silent), [])
    for store in stores.stores:
        assert store.alive and store.version and store.site and store.incarnation > 0 and store.http_address
    assert set(world.addresses) <= {store.client_address for store in stores.stores}
    own = [admin.ListStores(admin_pb2.ListStoresRequest(only_this_store=True)) for admin in world.admins]
    assert all(len(answer.stores) == 1 for answer in own)
    equal(len({answer.stores[0].store_id for answer in own}), len(world.admins))


def ranges_are_listed_by_interval_keyspace_and_id(world):
    everything = _all_ranges(world)
    starts = [found.descriptor.bounds.start for found in everything]
    equal(starts, sorted(starts))
    equal([found.descriptor.range_id for found in _all_ranges(world, limit=2)], [f.descriptor.range_id for f in everything])
    for found in everything:
        assert found.leader_store and found.leader_site and len(found.descriptor.replicas) >= 3
    default = world.admin.ListRanges(admin_pb2.ListRangesRequest(keyspace="default", limit=1000)).ranges
    assert world.raw_key("rows/m") in [found.descriptor.bounds.start for found in default]
    one = world.admin.ListRanges(admin_pb2.ListRangesRequest(range_id=everything[-1].descriptor.range_id)).ranges
    equal([found.descriptor.range_id for found in one], [everything[-1].descriptor.range_id])
    nameless = admin_pb2.ListRangesRequest(keyspace="no_such_keyspace")
    refused(StatusCode.NOT_FOUND, None, world.admin.ListRanges, nameless)


def _all_ranges(world, limit=1000):
    found, request = [], admin_pb2.ListRangesRequest(limit=limit)
    while True:
        page = world.admin.ListRanges(request)
        found += page.ranges
        if not page.HasField("resume"):
            return found
        request.resume = page.resume


def events_are_listed_the_newest_first(world):
    answer = world.admin.ListEvents(admin_pb2.ListEventsRequest(limit=1000))
    times = [event.at for event in answer.events]
    assert times and times == sorted(times, reverse=True)
    assert all(event.message and event.site and event.store_id for event in answer.events)
    kinds = {event.kind for event in answer.events}
    assert admin_pb2.EVENT_KIND_RANGE_SPLIT in kinds, kinds
    few = world.admin.ListEvents(admin_pb2.ListEventsRequest(limit=1))
    equal((len(few.events), few.more), (1, True))


def settings_are_listed_of_any_store(world):
    stores = world.admin.ListStores(admin_pb2.ListStoresRequest()).stores
    for store in stores:
        answer = world.admin.ListSettings(admin_pb2.ListSettingsRequest(store_id=store.store_id))
        equal((answer.store_id, answer.site), (store.store_id, store.site))
        assert {"site", "listen"} <= {setting.name for setting in answer.settings}
    unknown = admin_pb2.ListSettingsRequest(store_id=1 << 20)
    refused(StatusCode.NOT_FOUND, None, world.admin.ListSettings, unknown)


def a_keyspace_is_created_once_and_written_under_its_id(world):
    name = f"python_{world.run}"
    request = admin_pb2.CreateKeyspaceRequest(name=name)
    created = world.admin.CreateKeyspace(request).keyspace
    assert created.name == name and created.id > 255 and created.writable
    refused(StatusCode.ALREADY_EXISTS, None, world.admin.CreateKeyspace, request)
    listed = {keyspace.name: keyspace for keyspace in world.admin.ListKeyspaces(admin_pb2.ListKeyspacesRequest()).keyspaces}
    equal(listed[name].id, created.id)
    equal((listed["default"].id, listed["system"].id, listed["system"].writable), (1, 0, False))
    for bad in ("", "Upper", "1st", "a" * 64):
        try:
            world.admin.CreateKeyspace(admin_pb2.CreateKeyspaceRequest(name=bad))
        except Exception as error:
            equal(error.code(), StatusCode.INVALID_ARGUMENT)
        else:
            raise AssertionError(f"{bad!r} was taken for a name")


def leaders_are_handed_to_another_site_and_back(world):
    key = world.raw_key("rows/m")
    bounds = common_pb2.KeyRange(start=key)
    before = world.admin.ListRanges(admin_pb2.ListRangesRequest(bounds=bounds, limit=1)).ranges[0]
    range_id = before.descriptor.range_id
    other = next(replica for replica in before.descriptor.replicas if replica.store_id != before.leader_store)
    transfer = lambda **to: world.admin.TransferLeader(admin_pb2.TransferLeaderRequest(range_id=range_id, **to))
    equal(transfer(site=other.site).range.leader_site, other.site)
    assert not transfer(site=other.site).changed, "it is led from there already"
    world.put("rows/x", b"still served")
    equal(transfer(store_id=before.leader_store).range.leader_store, before.leader_store)
    refused(StatusCode.FAILED_PRECONDITION, None, lambda _: transfer(site="no-such-site"), None)
    unknown = admin_pb2.TransferLeaderRequest(range_id=1 << 40, site=other.site)
    refused(StatusCode.NOT_FOUND, None, world.admin.TransferLeader, unknown)


def changes_of_replicas_are_guarded(world):
    bounds = common_pb2.KeyRange(start=world.raw_key("rows/m"))
    found = world.admin.ListRanges(admin_pb2.ListRangesRequest(bounds=bounds, limit=1)).ranges[0]
    voters = [replica.replica_id for replica in found.descriptor.replicas]
    away = admin_pb2.Reconfigure(demote=voters)
    unknown = admin_pb2.ChangeReplicasRequest(range_id=1 << 40, reconfigure=away)
    refused(StatusCode.NOT_FOUND, None, world.admin.ChangeReplicas, unknown)
    range_id = found.descriptor.range_id
    stale = common_pb2.RangeEpoch(membership=1 << 40, bounds=1)
    guarded = admin_pb2.ChangeReplicasRequest(range_id=range_id, expected_epoch=stale, reconfigure=away)
    refused(StatusCode.FAILED_PRECONDITION, None, world.admin.ChangeReplicas, guarded)
    everybody = admin_pb2.ChangeReplicasRequest(range_id=range_id, reconfigure=away)
    refused(StatusCode.INVALID_ARGUMENT, "invalid", world.admin.ChangeReplicas, everybody)
    after = world.admin.ListRanges(admin_pb2.ListRangesRequest(bounds=bounds, limit=1)).ranges[0]
    equal(after.descriptor, found.descriptor)


CHECKS = [
    a_range_is_split_once_at_a_key,
    splits_that_make_no_sense_are_refused,
    sites_and_stores_are_listed,
    ranges_are_listed_by_interval_keyspace_and_id,
    events_are_listed_the_newest_first,
    settings_are_listed_of_any_store,
    a_keyspace_is_created_once_and_written_under_its_id,
    leaders_are_handed_to_another_site_and_back,
    changes_of_replicas_are_guarded,
]
