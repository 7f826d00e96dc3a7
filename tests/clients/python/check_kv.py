"""Every operation of Kv but Stream, on the good path."""

from checks import equal
from holdfast.v1 import kv_pb2


def put_and_get_through_every_store(world):
    for store, kv in enumerate(world.kvs):
        version = world.put("one", b"value %d" % store, store=store)
        for other in world.kvs:
            found = other.Get(kv_pb2.GetRequest(key=world.key("one"))).value
            equal((found.value, found.timestamp), (b"value %d" % store, version))


def keys_and_values_are_any_bytes(world):
    key = world.key("") + bytes(range(256))
    for value in (b"", b"\x00", bytes(range(256))):
        world.kv.Put(kv_pb2.PutRequest(key=key, value=value))
        equal(world.kv.Get(kv_pb2.GetRequest(key=key)).value.value, value)


def a_key_that_is_not_there_has_no_value(world):
    equal(world.get("never written"), None)


def delete_takes_a_key_away_and_is_a_success_without_one(world):
    world.put("gone", b"x")
    for _ in range(2):
        answer = world.kv.Delete(kv_pb2.DeleteRequest(key=world.key("gone")))
        assert answer.written.timestamp > 0
        equal(world.get("gone"), None)


def old_versions_can_be_read_at_their_timestamps(world):
    first, second = world.put("old", b"1"), world.put("old", b"2")
    assert first < second
    for at, wanted in ((first, b"1"), (second - 1, b"1"), (second, b"2"), (0, b"2")):
        equal(world.kv.Get(kv_pb2.GetRequest(key=world.key("old"), at=at)).value.value, wanted)
    before = world.kv.Get(kv_pb2.GetRequest(key=world.key("old"), at=first - 1))
    assert not before.HasField("value")


def keyspaces_are_apart(world):
    world.kv.Put(kv_pb2.PutRequest(keyspace=7, key=world.key("apart"), value=b"seven"))
    equal(world.get("apart"), None)
    equal(world.kv.Get(kv_pb2.GetRequest(keyspace=7, key=world.key("apart"))).value.value, b"seven")
    world.put("apart", b"default")
    equal(world.kv.Get(kv_pb2.GetRequest(keyspace=1, key=world.key("apart"))).value.value, b"default")


def a_value_expires_in_fleet_time(world):
    key = world.key("expires")
    now = world.fleet_ms()
    world.kv.Put(kv_pb2.PutRequest(key=key, value=b"x", expires_at_ms=now + 3_600_000))
    equal(world.get("expires"), b"x")
    world.kv.Put(kv_pb2.PutRequest(key=key, value=b"y", expires_at_ms=now - 1))
    equal(world.get("expires"), None)


def _cas(world, name, expected, value):
    key = world.key(name)
    mutation = kv_pb2.KeyMutation(key=key)
    if value is not None:
        mutation.value = value
    condition = kv_pb2.KeyCondition(key=key, **expected)
    return world.kv.CompareAndSet(kv_pb2.CompareAndSetRequest(condition=condition, mutation=mutation))


def compare_and_set_by_absence_value_and_version(world):
    version = _cas(world, "cas", {"absent": True}, b"1").written.timestamp
    version = _cas(world, "cas", {"version": version}, b"2").written.timestamp
    assert _cas(world, "cas", {"value": b"2"}, b"3").HasField("written")
    assert _cas(world, "cas", {"value": b"3"}, None).HasField("written"), "a mutation without a value deletes"
    equal(world.get("cas"), None)


def a_condition_that_does_not_hold_is_an_answer(world):
    version = world.put("held", b"here")
    for expected in ({"absent": True}, {"value": b"other"}, {"version": version - 1}):
        failed = _cas(world, "held", expected, b"no").condition_failed
        equal((failed.index, failed.actual.value, failed.actual.timestamp), (0, b"here", version))
    missing = _cas(world, "not held", {"value": b"x"}, b"no")
    assert missing.HasField("condition_failed") and not missing.condition_failed.HasField("actual")
    equal(world.get("held"), b"here")
    equal(world.get("not held"), None)


def an_atomic_batch_is_done_as_a_whole_or_not_at_all(world):
    a, b, c = (world.key(f"batch/{name}") for name in "abc")
    world.put("batch/c", b"old")
    mutations = [kv_pb2.KeyMutation(key=a, value=b"1"), kv_pb2.KeyMutation(key=b, value=b"2"), kv_pb2.KeyMutation(key=c)]
    holds = [kv_pb2.KeyCondition(key=a, absent=True), kv_pb2.KeyCondition(key=c, value=b"old")]
    fails = [kv_pb2.KeyCondition(key=c, value=b"old"), kv_pb2.KeyCondition(key=a, value=b"9")]
    refused = world.kv.AtomicBatch(kv_pb2.AtomicBatchRequest(conditions=fails, mutations=mutations))
    equal(refused.condition_failed.index, 1)
    equal(world.get("batch/c"), b"old")
    done = world.kv.AtomicBatch(kv_pb2.AtomicBatchRequest(conditions=holds, mutations=mutations)).written.timestamp
    for name, wanted in (("batch/a", b"1"), ("batch/b", b"2"), ("batch/c", None)):
        equal(world.get(name), wanted)
    equal(world.kv.Get(kv_pb2.GetRequest(key=a)).value.timestamp, done)
    equal(world.kv.Get(kv_pb2.GetRequest(key=b)).value.timestamp, done)


def batch_get_answers_in_the_order_of_the_keys(world):
    # The ends of the alphabet: two ranges, once the fleet has been cut between them.
    world.put("rows/zz", b"last")
    world.put("rows/aa", b"first")
    names = ["rows/zz", "rows/none", "rows/aa", "rows/zz"]
    answer = world.kv.BatchGet(kv_pb2.BatchGetRequest(keys=[world.key(name) for name in names]))
    found = [value.value.value if value.HasField("value") else None for value in answer.values]
    equal(found, [b"last", None, b"first", b"last"])


ROWS = 60


def _fill(world, prefix):
    names = [f"{prefix}/{i:03}" for i in range(ROWS)]
    for name in names:
        world.put(name, name.encode())
    return [world.key(name) for name in names]


def _scan(world, **fields):
    return list(world.kv.Scan(kv_pb2.ScanRequest(**fields)))


def scans_read_in_both_directions(world):
    keys = _fill(world, "scan")
    start, end = world.key("scan/"), world.prefix_end("scan/")
    for reverse in (False, True):
        pages = _scan(world, start=start, end=end, reverse=reverse)
        rows = [row for page in pages for row in page.rows]
        equal([row.key for row in rows], keys[::-1] if reverse else keys)
        assert not pages[-1].HasField("resume"), "all is read"
        assert all(page.at > 0 for page in pages)
        assert all(row.version > 0 and row.value == row.key[len(world.key("")) :] for row in rows)


def scans_begin_and_end_where_they_are_told(world):
    keys = [world.key(f"scan/{i:03}") for i in range(ROWS)]
    pages = _scan(world, start=keys[10], end=keys[20])
    equal([row.key for page in pages for row in page.rows], keys[10:20])
    pages = _scan(world, start=keys[10], end=keys[20], reverse=True, max_rows=3)
    equal([row.key for page in pages for row in page.rows], [keys[19], keys[18], keys[17]])
    pages = _scan(world, start=keys[10], end=keys[20], max_bytes=1)
    equal(pages[0].rows[0].key, keys[10])


def a_scan_goes_on_where_it_stopped_in_both_directions(world):
    keys = [world.key(f"scan/{i:03}") for i in range(ROWS)]
    for reverse in (False, True):
        bounds = {"start": world.key("scan/"), "end": world.prefix_end("scan/")}
        found, scans = [], 0
        while True:
            pages = _scan(world, reverse=reverse, max_rows=7, **bounds)
            found += [row.key for page in pages for row in page.rows]
            scans += 1
            if not pages or not pages[-1].HasField("resume"):
                break
            bounds["end" if reverse else "start"] = pages[-1].resume
        equal(found, keys[::-1] if reverse else keys)
        assert scans >= ROWS // 7, scans


def the_pages_of_a_range_are_read_at_one_timestamp(world):
    # Each round writes all rows of one range in one batch. A scan that goes on sees one round, whatever is written meanwhile.
    keys = [world.key(f"whole/{i:03}") for i in range(12)]

    def write(round_):
        mutations = [kv_pb2.KeyMutation(key=key, value=str(round_).encode()) for key in keys]
        world.kv.AtomicBatch(kv_pb2.AtomicBatchRequest(mutations=mutations))

    for reverse in (False, True):
        write(0)
        bounds = {"start": world.key("whole/"), "end": world.prefix_end("whole/")}
        part, found = None, []
        for round_ in range(1, 5):
            pages = _scan(world, reverse=reverse, max_rows=3, part=part, **bounds)
            found += [row.value for page in pages for row in page.rows]
            write(round_)
            part = pages[-1].part if pages[-1].HasField("part") else None
            if pages[-1].HasField("resume"):
                bounds["end" if reverse else "start"] = pages[-1].resume
        equal(found, [b"0"] * len(keys))


def a_scan_at_a_timestamp_sees_the_past(world):
    keys = _fill(world, "past")
    bounds = {"start": world.key("past/"), "end": world.prefix_end("past/")}
    at = max(page.at for page in _scan(world, **bounds))
    world.kv.DeleteRange(kv_pb2.DeleteRangeRequest(**bounds))
    equal([row.key for page in _scan(world, **bounds) for row in page.rows], [])
    equal([row.key for page in _scan(world, at=at, **bounds) for row in page.rows], keys)


def delete_range_works_page_by_page(world):
    _fill(world, "sweep")
    world.put("sweeq", b"stays")
    start, deleted, pages = world.key("sweep/"), 0, 0
    while start is not None:
        request = kv_pb2.DeleteRangeRequest(start=start, end=world.prefix_end("sweep/"), max_keys=25)
        answer = world.kv.DeleteRange(request)
        assert answer.deleted <= 25 and answer.timestamp > 0
        deleted, pages = deleted + answer.deleted, pages + 1
        start = answer.resume if answer.HasField("resume") else None
    equal(deleted, ROWS)
    assert pages >= 3, pages
    equal(world.get("sweep/000"), None)
    equal(world.get("sweeq"), b"stays")


def a_scan_that_nobody_reads_can_be_cancelled(world):
    scan = world.kv.Scan(kv_pb2.ScanRequest())
    next(scan)
    scan.cancel()
    assert world.get("scan/000") is not None, "the connection is still good"


CHECKS = [
    put_and_get_through_every_store,
    keys_and_values_are_any_bytes,
    a_key_that_is_not_there_has_no_value,
    delete_takes_a_key_away_and_is_a_success_without_one,
    old_versions_can_be_read_at_their_timestamps,
    keyspaces_are_apart,
    a_value_expires_in_fleet_time,
    compare_and_set_by_absence_value_and_version,
    a_condition_that_does_not_hold_is_an_answer,
    an_atomic_batch_is_done_as_a_whole_or_not_at_all,
    batch_get_answers_in_the_order_of_the_keys,
    scans_read_in_both_directions,
    scans_begin_and_end_where_they_are_told,
    a_scan_goes_on_where_it_stopped_in_both_directions,
    the_pages_of_a_range_are_read_at_one_timestamp,
    a_scan_at_a_timestamp_sees_the_past,
    delete_range_works_page_by_page,
    a_scan_that_nobody_reads_can_be_cancelled,
]
