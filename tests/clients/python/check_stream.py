"""Kv.Stream: many calls at a time, in raw keys."""

import queue
import time

import grpc
from checks import equal
from holdfast.v1 import common_pb2, fleet_pb2, kv_pb2

PATIENCE_S = 60
AGAIN_AFTER_S = 0.025


class Stream:
    """One stream: messages go out as they are given, answers are kept by call id."""

    def __init__(self, world, hello=None, store=0):
        self._out = queue.Queue()
        hello = kv_pb2.StreamHello() if hello is None else hello
        self._out.put(kv_pb2.StreamRequest(hello=hello))
        self._in = world.kvs[store].Stream(iter(self._out.get, None), timeout=PATIENCE_S)
        self.answers, self.notices, self.times = {}, [], []
        self._sent, self._said_all = {}, False
        self.first = self._take()

    def _take(self):
        message = next(self._in)
        self.times.append(message.now)
        self.notices += message.notices
        moved = []
        for answer in message.answers:
            assert answer.call_id not in self.answers, "a call is answered once"
            if answer.response.rejected.HasField("not_leader") and not self._said_all:
                # On a stream this is for the client: nothing was done, and somebody else leads.
                moved.append(self._sent[answer.call_id])
            else:
                self.answers[answer.call_id] = answer.response
        if moved:
            time.sleep(AGAIN_AFTER_S)
            self.send(moved)
        return message

    def send(self, calls=(), cancel=()):
        self._sent.update((one.call_id, one) for one in calls)
        self._out.put(kv_pb2.StreamRequest(calls=calls, cancel=cancel))

    def wait(self, *call_ids):
        """The answers to these calls, in this order."""
        while not all(call_id in self.answers for call_id in call_ids):
            self._take()
        return [self.answers[call_id] for call_id in call_ids]

    def close(self):
        """Says that no calls will follow, and reads to the end."""
        self._said_all = True
        self._out.put(None)
        for _ in self._in:
            pass


def call(call_id, timeout_ms=0, **request):
    return kv_pb2.StreamCall(call_id=call_id, timeout_ms=timeout_ms, request=common_pb2.RangeRequest(**request))


def read(*keys):
    return {"get": common_pb2.RangeGet(keys=keys)}


def change(*mutations, conditions=()):
    return {"change": common_pb2.RangeWrite(mutations=mutations, conditions=conditions)}


def a_stream_begins_with_the_store_and_what_it_knows(world):
    fleet = world.fleet.Describe(fleet_pb2.DescribeRequest())
    stream = Stream(world, kv_pb2.StreamHello(fleet=fleet.fleet))
    equal(stream.first.store_id, fleet.store_id)
    assert stream.first.now > 0 and stream.first.notices
    assert all(notice.descriptor.range_id for notice in stream.first.notices)
    stream.close()


def a_stream_to_another_fleet_is_refused(world):
    stranger = kv_pb2.StreamHello(fleet=common_pb2.Id128(high=1, low=2))
    try:
        stream = Stream(world, stranger)
        stream.send([call(1, **read(world.raw_key("x")))])
        stream.wait(1)
        raise AssertionError("a store of another fleet answered")
    except grpc.RpcError as error:
        equal(error.code(), grpc.StatusCode.FAILED_PRECONDITION)


def many_calls_of_all_kinds_are_answered_each_by_its_id(world):
    stream = Stream(world)
    keys = [world.raw_key(f"stream/{i:03}") for i in range(200)]
    put = lambda i: change(common_pb2.Mutation(key=keys[i], value=b"%d" % i))
    stream.send([call(i, **put(i)) for i in range(100)])
    stream.send([call(i, **put(i)) for i in range(100, 200)])
    answers = stream.wait(*range(200))
    assert all(answer.written.timestamp > 0 for answer in answers)
    bounds = common_pb2.KeyRange(start=keys[0], end=keys[199] + b"\x00")
    calls = [call(1000 + i, **read(keys[i])) for i in range(199, -1, -1)]
    calls.append(call(2000, scan=common_pb2.RangeScan(bounds=bounds, max_rows=10, max_bytes=1 << 20)))
    stream.send(calls)
    for i, answer in enumerate(stream.wait(*range(1000, 1200))):
        equal([value.value.value for value in answer.got.values], [b"%d" % i])
    (page,) = stream.wait(2000)
    equal([row.key for row in page.scanned.rows], keys[:10])
    assert page.scanned.resume > keys[9] and page.scanned.at > 0
    stream.send([call(3000, delete_range=common_pb2.RangeDelete(bounds=bounds, max_keys=1000))])
    (deleted,) = stream.wait(3000)
    equal(deleted.range_deleted.deleted, 200)
    assert all(now > 0 for now in stream.times), "every message tells fleet time"
    stream.close()


def conditions_and_refusals_are_answers_and_the_stream_goes_on(world):
    stream = Stream(world)
    key = world.raw_key("stream/condition")
    mutation = common_pb2.Mutation(key=key, value=b"v")
    absent = common_pb2.Condition(key=key, absent=True)
    stream.send([call(1, **change(mutation, conditions=[absent]))])
    (done,) = stream.wait(1)
    assert done.written.timestamp > 0
    spanning = [common_pb2.Mutation(key=world.raw_key(f"rows/{name}"), value=b"s") for name in ("b", "y")]
    stream.send(
        [
            call(2, **change(mutation, conditions=[absent])),
            call(3, **change(*spanning)),
            call(4, **read()),
            call(5, **read(b"\x00\x00")),
            call(6),
            kv_pb2.StreamCall(call_id=7),
        ]
    )
    failed, spans, *broken = stream.wait(2, 3, 4, 5, 6, 7)
    equal((failed.condition_failed.index, failed.condition_failed.actual.value), (0, b"v"))
    equal(spans.rejected.spans_ranges.split_key, world.raw_key("rows/m"))
    for answer in broken:
        equal(answer.rejected.WhichOneof("reason"), "invalid")
        assert answer.rejected.message
    stream.close()


def an_answer_that_would_be_too_large_is_refused_and_the_stream_goes_on(world):
    for store in range(len(world.addresses)):
        stream = Stream(world, store=store)
        keys = [world.raw_key(f"heavy/{i}") for i in range(8)]
        stream.send([call(1, **read(*keys)), call(2, **read(keys[0]))])
        heavy, light = stream.wait(1, 2)
        equal(heavy.rejected.WhichOneof("reason"), "invalid")
        equal(len(light.got.values), 1)
        stream.close()


def a_range_that_is_not_the_keys_is_refused_with_what_the_store_knows(world):
    key = world.raw_key("rows/b")
    bounds = common_pb2.KeyRange(start=key)
    located = world.fleet.Locate(fleet_pb2.LocateRequest(bounds=bounds, limit=1)).ranges[0]
    descriptor = located.descriptor
    leader = next(at for at, address in enumerate(world.addresses) if address == located.leader.address)
    stream = Stream(world, store=leader)
    stream.send([call(1, range_id=descriptor.range_id, epoch=descriptor.epoch, **read(key))])
    (found,) = stream.wait(1)
    equal(len(found.got.values), 1)
    elsewhere = world.raw_key("rows/y")
    stream.send([call(2, range_id=descriptor.range_id, epoch=descriptor.epoch, **read(elsewhere))])
    (wrong,) = stream.wait(2)
    equal(wrong.rejected.WhichOneof("reason"), "wrong_range")
    assert descriptor.range_id in [known.range_id for known in wrong.rejected.wrong_range.known]
    stream.close()


def the_system_keyspace_cannot_be_written(world):
    stream = Stream(world)
    mutation = common_pb2.Mutation(key=(0).to_bytes(4, "big") + b"x", value=b"v")
    bounds = common_pb2.KeyRange(start=(0).to_bytes(4, "big"), end=(1).to_bytes(4, "big"))
    stream.send([call(1, **change(mutation)), call(2, delete_range=common_pb2.RangeDelete(bounds=bounds, max_keys=1))])
    for answer in stream.wait(1, 2):
        equal(answer.rejected.WhichOneof("reason"), "forbidden")
    stream.close()


def cancelled_calls_leave_the_stream_and_the_other_calls_alone(world):
    stream = Stream(world)
    slot, last_moment = world.slot(), world.fleet_ms() + 30_000

    def put(number):
        write = world.attempt(slot, 1, number, last_moment)
        return {"write": write, **change(common_pb2.Mutation(key=world.raw_key("cancelled"), value=b"v"))}

    reads = [call(i, **read(world.raw_key("stream/none"))) for i in range(2, 50)]
    stream.send([call(1, **put(1)), *reads], cancel=[1, 3, 5, 7, 999_999])
    stream.wait(2, 4, 6, *range(8, 50))
    # The cancelled write was applied, or was not: its next attempt settles it.
    stream.send([call(100, **put(2))])
    (done,) = stream.wait(100)
    assert done.written.timestamp > 0
    equal(world.versions("cancelled"), 1)
    stream.close()


def open_calls_are_answered_after_the_client_has_said_all(world):
    stream = Stream(world)
    stream.send([call(i, **read(world.raw_key("stream/none"))) for i in range(500)])
    stream._said_all = True
    stream._out.put(None)
    stream.wait(*range(500))


CHECKS = [
    a_stream_begins_with_the_store_and_what_it_knows,
    a_stream_to_another_fleet_is_refused,
    many_calls_of_all_kinds_are_answered_each_by_its_id,
    conditions_and_refusals_are_answers_and_the_stream_goes_on,
    an_answer_that_would_be_too_large_is_refused_and_the_stream_goes_on,
    a_range_that_is_not_the_keys_is_refused_with_what_the_store_knows,
    the_system_keyspace_cannot_be_written,
    cancelled_calls_leave_the_stream_and_the_other_calls_alone,
    open_calls_are_answered_after_the_client_has_said_all,
]
