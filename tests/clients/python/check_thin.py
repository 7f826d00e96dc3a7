"""The thin client that is there to be copied."""

import threading

import thin_client
from checks import equal
from holdfast.v1 import kv_pb2


def _client(world, addresses=None, deadline_s=20.0):
    return thin_client.Client(addresses or world.addresses, deadline_s)


def the_thin_client_does_every_operation(world):
    client = _client(world)
    names = [world.key(f"rows/{name}") for name in ("thin-b", "thin-x")]
    versions = [client.put(name, name) for name in names]
    equal([client.get(name).timestamp for name in names], versions)
    equal([found.value for found in client.batch_get(names)], names)
    equal([row.key for row in client.scan(names[0], names[1] + b"\x00") if row.key in names], names)
    backwards = client.scan(names[0], names[1] + b"\x00", reverse=True)
    equal([row.key for row in backwards if row.key in names], names[::-1])
    condition = kv_pb2.KeyCondition(key=names[0], version=versions[0])
    mutation = kv_pb2.KeyMutation(key=names[0], value=b"new")
    assert client.compare_and_set(condition, mutation).HasField("written")
    assert client.compare_and_set(condition, mutation).HasField("condition_failed")
    client.delete(names[0])
    equal(client.get(names[0]), None)
    equal(client.delete_range(names[1], names[1] + b"\x00"), 1)
    client.close()


def the_thin_client_tells_refusals_from_failures(world):
    client = _client(world)
    mutations = [kv_pb2.KeyMutation(key=world.key(f"rows/{name}"), value=b"v") for name in ("b", "y")]
    for reason, call in (
        ("invalid", lambda: client.put(b"", b"v")),
        ("spans_ranges", lambda: client.atomic_batch(mutations)),
    ):
        try:
            call()
            raise AssertionError(f"{reason} was expected")
        except thin_client.Refused as refused:
            equal(refused.reason, reason)
    client.close()


def the_thin_client_goes_on_when_a_store_does_not_answer(world):
    # The first address is nobody's: a port below those that programs get.
    client = _client(world, ["127.0.0.1:9", *world.addresses])
    client._first = 0
    client.put(world.key("elsewhere"), b"v")
    equal(world.versions("elsewhere"), 1)
    client.close()


def the_thin_client_gives_up_at_its_deadline(world):
    client = _client(world, ["127.0.0.1:9"], deadline_s=0.5)
    try:
        client.get(world.key("nowhere"))
        raise AssertionError("nobody can have answered")
    except thin_client.OutOfTime:
        pass
    client.close()


def counters_of_many_threads_lose_nothing(world):
    client, key, threads, each = _client(world), world.key("counter"), 8, 25
    client.put(key, b"0")

    def count():
        for _ in range(each):
            while True:
                found = client.get(key)
                condition = kv_pb2.KeyCondition(key=key, version=found.timestamp)
                mutation = kv_pb2.KeyMutation(key=key, value=b"%d" % (int(found.value) + 1))
                if client.compare_and_set(condition, mutation).HasField("written"):
                    break

    running = [threading.Thread(target=count) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    equal(int(client.get(key).value), threads * each)
    equal(world.versions("counter"), 1 + threads * each)
    client.close()


CHECKS = [
    the_thin_client_does_every_operation,
    the_thin_client_tells_refusals_from_failures,
    the_thin_client_goes_on_when_a_store_does_not_answer,
    the_thin_client_gives_up_at_its_deadline,
    counters_of_many_threads_lose_nothing,
]
