"""Every kind of refusal that a client can provoke, by code and by typed reason."""

import grpc
import thin_client
from checks import equal, refused
from grpc import StatusCode
from holdfast.v1 import admin_pb2, common_pb2, fleet_pb2, kv_pb2

MAX_KEY = 4 << 10
MAX_VALUE = 1 << 20


def invalid(call, request):
    refused(StatusCode.INVALID_ARGUMENT, "invalid", call, request)


def empty_and_oversized_keys_are_refused(world):
    for key in (b"", b"k" * (MAX_KEY + 1)):
        invalid(world.kv.Get, kv_pb2.GetRequest(key=key))
        invalid(world.kv.Put, kv_pb2.PutRequest(key=key, value=b"v"))
        invalid(world.kv.Delete, kv_pb2.DeleteRequest(key=key))
        invalid(world.kv.BatchGet, kv_pb2.BatchGetRequest(keys=[world.key("a"), key]))
        mutations = [kv_pb2.KeyMutation(key=key, value=b"v")]
        invalid(world.kv.AtomicBatch, kv_pb2.AtomicBatchRequest(mutations=mutations))


def the_longest_key_and_the_largest_value_are_taken(world):
    key = world.key("long/").ljust(MAX_KEY, b"k")
    value = bytes(MAX_VALUE)
    world.kv.Put(kv_pb2.PutRequest(key=key, value=value))
    equal(world.kv.Get(kv_pb2.GetRequest(key=key)).value.value, value)


def oversized_values_are_refused(world):
    invalid(world.kv.Put, kv_pb2.PutRequest(key=world.key("large"), value=bytes(MAX_VALUE + 1)))
    equal(world.get("large"), None)


def batches_have_bounds(world):
    invalid(world.kv.BatchGet, kv_pb2.BatchGetRequest())
    invalid(world.kv.BatchGet, kv_pb2.BatchGetRequest(keys=[world.key("a")] * 4097))
    invalid(world.kv.AtomicBatch, kv_pb2.AtomicBatchRequest())
    twice = [kv_pb2.KeyMutation(key=world.key("twice"), value=value) for value in (b"1", b"2")]
    invalid(world.kv.AtomicBatch, kv_pb2.AtomicBatchRequest(mutations=twice))
    heavy = [kv_pb2.KeyMutation(key=world.key(f"batch/{i}"), value=bytes(MAX_VALUE)) for i in range(4)]
    invalid(world.kv.AtomicBatch, kv_pb2.AtomicBatchRequest(mutations=heavy))


def a_get_of_more_than_an_answer_takes_is_refused(world):
    names = [f"heavy/{i}" for i in range(8)]
    for name in names:
        world.put(name, bytes(MAX_VALUE))
    keys = [world.key(name) for name in names]
    invalid(world.kv.BatchGet, kv_pb2.BatchGetRequest(keys=keys))
    equal(len(world.kv.BatchGet(kv_pb2.BatchGetRequest(keys=keys[:6])).values), 6)


def reversed_bounds_are_refused_and_empty_ones_hold_nothing(world):
    start, end = world.key("b"), world.key("a")
    invalid(world.kv.DeleteRange, kv_pb2.DeleteRangeRequest(start=start, end=end))
    invalid(world.kv.DeleteRange, kv_pb2.DeleteRangeRequest(start=start, end=start))
    for bounds in ({"start": start, "end": end}, {"start": start, "end": start}):
        pages = list(world.kv.Scan(kv_pb2.ScanRequest(**bounds)))
        equal([row for page in pages for row in page.rows], [])


def a_page_of_a_delete_range_has_a_bound(world):
    bounds = {"start": world.key("a"), "end": world.key("b")}
    invalid(world.kv.DeleteRange, kv_pb2.DeleteRangeRequest(max_keys=1001, **bounds))


def incomplete_requests_are_refused(world):
    invalid(world.kv.CompareAndSet, kv_pb2.CompareAndSetRequest())
    key = world.key("incomplete")
    nothing_expected = kv_pb2.CompareAndSetRequest(
        condition=kv_pb2.KeyCondition(key=key), mutation=kv_pb2.KeyMutation(key=key, value=b"v")
    )
    invalid(world.kv.CompareAndSet, nothing_expected)
    expiring = kv_pb2.AtomicBatchRequest(mutations=[kv_pb2.KeyMutation(key=key, expires_at_ms=1)])
    invalid(world.kv.AtomicBatch, expiring)


def a_batch_over_two_ranges_is_refused_with_the_key_where_they_meet(world):
    # The fleet was cut before this key by the first check.
    mutations = [kv_pb2.KeyMutation(key=world.key(f"rows/{name}"), value=b"v") for name in ("b", "y")]
    request = kv_pb2.AtomicBatchRequest(mutations=mutations)
    rejection = refused(StatusCode.FAILED_PRECONDITION, "spans_ranges", world.kv.AtomicBatch, request)
    equal(rejection.spans_ranges.split_key, world.raw_key("rows/m"))
    equal([world.get("rows/b"), world.get("rows/y")], [None, None])
    # The condition counts too.
    elsewhere = kv_pb2.CompareAndSetRequest(
        condition=kv_pb2.KeyCondition(key=world.key("rows/b"), absent=True), mutation=mutations[1]
    )
    refused(StatusCode.FAILED_PRECONDITION, "spans_ranges", world.kv.CompareAndSet, elsewhere)
    for mutation in mutations:
        world.kv.AtomicBatch(kv_pb2.AtomicBatchRequest(mutations=[mutation]))


def refusals_that_speak_of_the_longest_keys_arrive(world):
    """gRPC refuses headers of more than 8 KiB, and so any refusal that has as much to say."""
    left, cut, right = (world.key("wide/").ljust(MAX_KEY - 1, b"\xff") + last for last in (b"a", b"m", b"z"))
    raw_cut = (1).to_bytes(4, "big") + cut
    world.admin.SplitRange(admin_pb2.SplitRangeRequest(key=raw_cut))
    over_both = kv_pb2.AtomicBatchRequest(mutations=[kv_pb2.KeyMutation(key=key, value=b"v") for key in (left, right)])
    rejection = refused(StatusCode.FAILED_PRECONDITION, "spans_ranges", world.kv.AtomicBatch, over_both)
    equal(rejection.spans_ranges.split_key, b"")  # Too long for a refusal: it is looked up.
    bounds = common_pb2.KeyRange(start=(1).to_bytes(4, "big") + left, end=(1).to_bytes(4, "big") + right)
    found = world.fleet.Locate(fleet_pb2.LocateRequest(bounds=bounds)).ranges
    equal([located.descriptor.bounds.start for located in found[1:]], [raw_cut])
    twice = [kv_pb2.KeyMutation(key=cut, value=value) for value in (b"1", b"2")]
    invalid(world.kv.AtomicBatch, kv_pb2.AtomicBatchRequest(mutations=twice))
    nameless = admin_pb2.ListRangesRequest(keyspace="\x7f" * 100_000)
    refused(StatusCode.NOT_FOUND, None, world.admin.ListRanges, nameless)


def the_system_keyspace_cannot_be_reached(world):
    # Keyspace 0 means the default one here, so only raw keys name the system's: see the checks of Stream.
    world.kv.Put(kv_pb2.PutRequest(keyspace=0, key=world.key("zero"), value=b"v"))
    equal(world.kv.Get(kv_pb2.GetRequest(keyspace=1, key=world.key("zero"))).value.value, b"v")


def a_keyspace_that_was_never_used_is_empty(world):
    # The last one is the audit's.
    for keyspace in (77, (1 << 32) - 2):
        answer = world.kv.Get(kv_pb2.GetRequest(keyspace=keyspace, key=world.key("unknown")))
        assert not answer.HasField("value")
        equal([row for page in world.kv.Scan(kv_pb2.ScanRequest(keyspace=keyspace)) for row in page.rows], [])


def reads_below_what_is_kept_and_far_ahead_are_answered_or_refused_for_good(world):
    for at in (1, (1 << 64) - 1):
        try:
            world.kv.Get(kv_pb2.GetRequest(key=world.key("a"), at=at))
        except grpc.RpcError as error:
            reason = thin_client.rejection_of(error).WhichOneof("reason")
            assert reason in ("below_gc_threshold", "invalid"), reason


def a_deadline_that_has_passed_ends_a_call(world):
    # Told by the gRPC library, or by the store, whoever was first.
    try:
        world.kv.Get(kv_pb2.GetRequest(key=world.key("late")), timeout=0.0)
        raise AssertionError("an answer in no time")
    except grpc.RpcError as error:
        equal(error.code(), StatusCode.DEADLINE_EXCEEDED)


def a_message_beyond_the_limit_is_refused_and_the_connection_lives(world):
    request = kv_pb2.PutRequest(key=world.key("huge"), value=bytes(9 << 20))
    try:
        world.kv.Put(request)
        raise AssertionError("a message of 9 MiB was taken")
    except grpc.RpcError as error:
        assert error.code() in (StatusCode.OUT_OF_RANGE, StatusCode.RESOURCE_EXHAUSTED), error.code()
    equal(world.get("huge"), None)


def unknown_calls_are_unimplemented(world):
    call = world.channels[0].unary_unary("/holdfast.v1.Kv/NoSuchCall")
    refused(StatusCode.UNIMPLEMENTED, None, call, b"", timeout=20)


CHECKS = [
    empty_and_oversized_keys_are_refused,
    the_longest_key_and_the_largest_value_are_taken,
    oversized_values_are_refused,
    batches_have_bounds,
    a_get_of_more_than_an_answer_takes_is_refused,
    reversed_bounds_are_refused_and_empty_ones_hold_nothing,
    a_page_of_a_delete_range_has_a_bound,
    incomplete_requests_are_refused,
    a_batch_over_two_ranges_is_refused_with_the_key_where_they_meet,
    refusals_that_speak_of_the_longest_keys_arrive,
    the_system_keyspace_cannot_be_reached,
    a_keyspace_that_was_never_used_is_empty,
    reads_below_what_is_kept_and_far_ahead_are_answered_or_refused_for_good,
    a_deadline_that_has_passed_ends_a_call,
    a_message_beyond_the_limit_is_refused_and_the_connection_lives,
    unknown_calls_are_unimplemented,
]
