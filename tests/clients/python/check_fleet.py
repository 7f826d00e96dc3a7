"""Fleet, and the standard services: health and reflection."""

from checks import equal, refused
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from google.protobuf.descriptor_pool import DescriptorPool
from holdfast.v1 import common_pb2, fleet_pb2


def every_store_describes_the_same_fleet(world):
    described = [fleet.Describe(fleet_pb2.DescribeRequest()) for fleet in world.fleets]
    for answer in described:
        equal(answer.fleet, described[0].fleet)
        assert answer.fleet.high or answer.fleet.low
        assert answer.now > 0 and answer.store_id > 0
        assert len(answer.sites) >= 3 and len(answer.stores) >= 3
        assert all(site.name and site.stores for site in answer.sites)
        addresses = {store.client_address for store in answer.stores}
        assert set(world.addresses) <= addresses, addresses
        assert all(store.site and store.store_address for store in answer.stores)
    equal(len({answer.store_id for answer in described}), len(world.fleets))


def status_is_the_stores_own(world):
    for fleet in world.fleets:
        status = fleet.Status(fleet_pb2.StatusRequest())
        equal(status.store_id, fleet.Describe(fleet_pb2.DescribeRequest()).store_id)
        assert status.version and status.site and status.incarnation > 0
        assert status.ranges > 0 and status.leaders <= status.ranges


def _locate(world, **fields):
    return world.fleet.Locate(fleet_pb2.LocateRequest(**fields))


def ranges_are_located_by_key_and_by_interval_in_both_directions(world):
    key = world.raw_key("rows/b")
    found = _locate(world, bounds=common_pb2.KeyRange(start=key), limit=1)
    equal(len(found.ranges), 1)
    descriptor = found.ranges[0].descriptor
    assert descriptor.bounds.start <= key < descriptor.bounds.end
    assert len(descriptor.replicas) >= 3 and descriptor.epoch.bounds > 0
    equal(len({replica.site for replica in descriptor.replicas}), len(descriptor.replicas))
    assert found.ranges[0].leader.address in world.addresses and found.ranges[0].term > 0
    everything = [located.descriptor for located in _locate(world, limit=1000).ranges]
    starts = [descriptor.bounds.start for descriptor in everything]
    equal(starts, sorted(starts))
    equal(starts[0], b"")
    assert not everything[-1].bounds.HasField("end")
    for left, right in zip(everything, everything[1:]):
        equal(left.bounds.end, right.bounds.start)
    backwards = [located.descriptor.bounds.start for located in _locate(world, reverse=True, limit=1000).ranges]
    equal(backwards, starts[::-1])


def located_ranges_come_page_by_page(world):
    wanted = [located.descriptor.range_id for located in _locate(world, limit=1000).ranges]
    for reverse in (False, True):
        bounds, found = common_pb2.KeyRange(), []
        while True:
            answer = _locate(world, bounds=bounds, reverse=reverse, limit=1)
            found += [located.descriptor.range_id for located in answer.ranges]
            if not answer.HasField("resume"):
                break
            setattr(bounds, "end" if reverse else "start", answer.resume)
        equal(found, wanted[::-1] if reverse else wanted)


def a_fleet_is_founded_once(world):
    refused(StatusCode.ALREADY_EXISTS, None, world.fleet.Init, fleet_pb2.InitRequest())


def strangers_do_not_join(world):
    stranger = fleet_pb2.JoinRequest(site="x", fleet=common_pb2.Id128(high=1, low=2))
    refused(StatusCode.PERMISSION_DENIED, None, world.fleet.Join, stranger)


def health_is_told_by_the_standard_service(world):
    for channel in world.channels:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "holdfast.v1.Kv"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            equal(answer.status, health_pb2.HealthCheckResponse.SERVING)
        request = health_pb2.HealthCheckRequest(service="no.such.Service")
        refused(StatusCode.NOT_FOUND, None, stub.Check, request, timeout=20)


def services_and_messages_are_told_by_reflection(world):
    database = ProtoReflectionDescriptorDatabase(world.channels[0])
    services = set(database.get_services())
    wanted = {"holdfast.v1.Kv", "holdfast.v1.Fleet", "holdfast.v1.Admin", "grpc.health.v1.Health"}
    assert wanted <= services, services
    kv = DescriptorPool(database).FindServiceByName("holdfast.v1.Kv")
    methods = {method.name for method in kv.methods}
    assert {"Get", "Put", "Scan", "Stream"} <= methods, methods
    equal(kv.methods_by_name["Put"].input_type.fields_by_name["expires_at_ms"].number, 4)


CHECKS = [
    every_store_describes_the_same_fleet,
    status_is_the_stores_own,
    ranges_are_located_by_key_and_by_interval_in_both_directions,
    located_ranges_come_page_by_page,
    a_fleet_is_founded_once,
    strangers_do_not_join,
    health_is_told_by_the_standard_service,
    services_and_messages_are_told_by_reflection,
]
