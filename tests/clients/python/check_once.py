"""Request ids: a write that is sent more than once."""

import threading

import grpc
from checks import equal, refused
from grpc import StatusCode
from holdfast.v1 import kv_pb2


def a_write_under_one_id_is_applied_once_and_answered_alike(world):
    slot = world.slot()
    write = [world.attempt(slot, 1, 1)]
    for number in range(2, 7):
        again = type(write[0]).FromString(write[0].SerializeToString())
        again.attempt = number
        write.append(again)
    given = [world.put("once", b"v", attempt, store=at % len(world.kvs)) for at, attempt in enumerate(write)]
    assert all(version == given[0] for version in given), given
    equal(world.versions("once"), 1)


def attempts_that_meet_are_applied_once(world):
    slot, given = world.slot(), []
    last_moment = world.fleet_ms() + 30_000

    def send(number):
        attempt = world.attempt(slot, 1, number, last_moment)
        given.append(world.put("meet", b"v", attempt, store=number % len(world.kvs)))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal((len(given), len(set(given))), (12, 1))
    equal(world.versions("meet"), 1)


def an_old_sequence_is_refused_and_does_not_undo_the_newer_write(world):
    slot = world.slot()
    world.put("slot", b"first", world.attempt(slot, 1, 1))
    world.put("slot", b"second", world.attempt(slot, 2, 1))
    late = kv_pb2.PutRequest(key=world.key("slot"), value=b"first", write=world.attempt(slot, 1, 2))
    refused(StatusCode.ABORTED, "stale_sequence", world.kv.Put, late)
    equal(world.get("slot"), b"second")


def an_id_that_names_another_write_is_refused(world):
    slot = world.slot()
    world.put("reused", b"one", world.attempt(slot, 1, 1))
    other = kv_pb2.PutRequest(key=world.key("reused"), value=b"two", write=world.attempt(slot, 1, 2))
    refused(StatusCode.INVALID_ARGUMENT, "request_reused", world.kv.Put, other)
    equal(world.get("reused"), b"one")


def an_attempt_past_its_last_moment_is_not_evaluated(world):
    now = world.fleet_ms()
    late = kv_pb2.PutRequest(key=world.key("past"), value=b"v", write=world.attempt(world.slot(), 1, 1, now - 10_000))
    rejection = refused(StatusCode.ABORTED, "past_last_moment", world.kv.Put, late)
    assert abs((rejection.past_last_moment.now >> 16) - now) < 60_000, "the refusal tells fleet time"
    equal(world.get("past"), None)


def a_last_moment_too_far_ahead_is_refused(world):
    far = world.attempt(world.slot(), 1, 1, world.fleet_ms() + 120_000)
    request = kv_pb2.PutRequest(key=world.key("far"), value=b"v", write=far)
    refused(StatusCode.INVALID_ARGUMENT, "invalid", world.kv.Put, request)


def malformed_ids_are_refused(world):
    good = world.attempt(world.slot(), 1, 1)

    def broken(change):
        write = type(good).FromString(good.SerializeToString())
        change(write)
        request = kv_pb2.PutRequest(key=world.key("malformed"), value=b"v", write=write)
        refused(StatusCode.INVALID_ARGUMENT, "invalid", world.kv.Put, request)

    broken(lambda write: write.ClearField("id"))
    broken(lambda write: write.id.ClearField("client"))
    broken(lambda write: setattr(write.id, "slot", 1024))
    broken(lambda write: setattr(write.id, "sequence", 0))
    broken(lambda write: setattr(write, "attempt", 0))
    broken(lambda write: setattr(write, "last_moment", 0))
    equal(world.get("malformed"), None)


def every_kind_of_write_remembers_its_outcome(world):
    key = world.key("kinds")
    last_moment = world.fleet_ms() + 30_000

    def twice(call, request):
        slot = world.slot()
        answers = []
        for number in (1, 2):
            request.write.CopyFrom(world.attempt(slot, 1, number, last_moment))
            answers.append(call(request))
        equal(answers[0], answers[1])
        return answers[0]

    mutation = kv_pb2.KeyMutation(key=key, value=b"v")
    condition = kv_pb2.KeyCondition(key=key, absent=True)
    done = twice(world.kv.CompareAndSet, kv_pb2.CompareAndSetRequest(condition=condition, mutation=mutation))
    assert done.HasField("written"), "the second attempt hears of the first, though the key exists by now"
    twice(world.kv.AtomicBatch, kv_pb2.AtomicBatchRequest(mutations=[mutation]))
    twice(world.kv.Delete, kv_pb2.DeleteRequest(key=key))
    equal(world.versions("kinds"), 0)
    world.put("kinds", b"v")
    deleted = twice(world.kv.DeleteRange, kv_pb2.DeleteRangeRequest(start=key, end=key + b"\x00"))
    equal(deleted.deleted, 1)


def writes_without_an_id_are_at_most_once_for_each_attempt(world):
    versions = [world.put("thin", b"v") for _ in range(3)]
    assert versions[0] < versions[1] < versions[2]
    equal(world.versions("thin"), 3)


def a_write_that_the_deadline_cut_off_is_finished_under_its_id(world):
    slot = world.slot()
    last_moment = world.fleet_ms() + 30_000

    def request(number):
        attempt = world.attempt(slot, 1, number, last_moment)
        return kv_pb2.PutRequest(key=world.key("cut off"), value=b"v", write=attempt)

    try:
        world.kv.Put(request(1), timeout=0.001)
    except grpc.RpcError as error:
        # The client's own deadline, or the store's answer that it does not know the outcome: whichever comes first.
        assert error.code() in (StatusCode.DEADLINE_EXCEEDED, StatusCode.UNKNOWN), error
    # Perhaps it was done, perhaps not, perhaps it is on its way: under its id it makes no difference.
    world.kv.Put(request(2))
    equal(world.versions("cut off"), 1)


CHECKS = [
    a_write_under_one_id_is_applied_once_and_answered_alike,
    attempts_that_meet_are_applied_once,
    an_old_sequence_is_refused_and_does_not_undo_the_newer_write,
    an_id_that_names_another_write_is_refused,
    an_attempt_past_its_last_moment_is_not_evaluated,
    a_last_moment_too_far_ahead_is_refused,
    malformed_ids_are_refused,
    every_kind_of_write_remembers_its_outcome,
    writes_without_an_id_are_at_most_once_for_each_attempt,
    a_write_that_the_deadline_cut_off_is_finished_under_its_id,
]
