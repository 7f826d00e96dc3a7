"""A thin client of Holdfast, to be copied: no routing, but retries done right.

Any store takes any request and passes it on, so a client may know nothing of ranges and leaders. What is left for it to do is here:
ask another store when one fails, tell errors that did nothing from errors that may have done something, and give every write a
request id, so that it is applied once however often it is sent. The rules are in docs/client-protocol.md.

    python -m grpc_tools.protoc -I proto/proto --python_out=. --grpc_python_out=. \\
        holdfast/v1/common.proto holdfast/v1/trust.proto holdfast/v1/kv.proto holdfast/v1/fleet.proto
    pip install grpcio protobuf googleapis-common-protos

    client = Client(["127.0.0.1:7300", "127.0.0.1:7310"])  # tls="FOLDER" with tls.crt, tls.key and ca.crt, unless the fleet has no TLS
    version = client.put(b"greeting", b"hello")
    value = client.get(b"greeting").value
    for row in client.scan(b"a", b"n"):
        print(row.key, row.value)
"""

import itertools
import pathlib
import random
import secrets
import threading
import time

import grpc
from google.rpc import status_pb2
from holdfast.v1 import common_pb2, fleet_pb2, fleet_pb2_grpc, kv_pb2, kv_pb2_grpc

ATTEMPT_S = 2.0  # An attempt may take this long before another store is asked.
WAITS_S = (0.05, 0.1, 0.2, 0.4)  # Before the second, third, ... attempt.
MAX_AHEAD_S = 59.0  # A last moment lies at most 60 s ahead of fleet time; a second is for the error of our estimate.
CLOCK_OFFSET_S = 0.5  # Clocks of stores may differ by this.
MAX_SLOTS = 1024
CHANNEL_OPTIONS = [
    # An answer may have 8 MiB; grpcio takes 4 MiB unless told otherwise.
    ("grpc.max_receive_message_length", 8 << 20),
    # A store that is cut off is noticed although it never closes the connection.
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 2000),
    ("grpc.http2.max_pings_without_data", 0),
]
# Made by the gRPC library, or by a store that broke off: the request may have arrived and may have been done.
MAY_HAVE_ARRIVED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
}
# Reasons after which the same attempt may be made again, here or elsewhere. Nothing was done, but for `ambiguous`.
WORTH_ANOTHER_ATTEMPT = {"not_leader", "wrong_range", "busy", "unavailable", "ambiguous", "deadline_exceeded"}


class Refused(Exception):
    """Nothing was done, and sending the same again would not help. `reason` is the name of the field of a Rejection that is set, or
    the gRPC code where there is none; `rejection` has its details."""

    def __init__(self, reason, message, rejection=None):
        super().__init__(f"{reason}: {message}")
        self.reason, self.rejection = reason, rejection


class OutOfTime(Exception):
    """The deadline passed and nothing was done."""


class Ambiguous(Exception):
    """The write was applied once or not at all, and it could not be found out in time. Read before writing again."""


def rejection_of(error):
    """The typed refusal in the details of a gRPC error; None when the error was made by a gRPC library."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                rejection = common_pb2.Rejection()
                if detail.Unpack(rejection):
                    return rejection
    return None


def channel(address, tls=None):
    """A channel to one store. `tls`: the folder with our certificate. What stands there later is used by channels made later."""
    if tls is None:
        return grpc.insecure_channel(address, CHANNEL_OPTIONS)
    bundle, key, certificate = ((pathlib.Path(tls) / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt"))
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(bundle, key, certificate), CHANNEL_OPTIONS)


class Client:
    """Safe to share among threads. A program needs one for each fleet."""

    def __init__(self, addresses, deadline_s=10.0, tls=None):
        self._channels = [channel(address, tls) for address in addresses]
        self._kv = [kv_pb2_grpc.KvStub(channel) for channel in self._channels]
        self._fleet = [fleet_pb2_grpc.FleetStub(channel) for channel in self._channels]
        self._first = random.randrange(len(addresses))  # Whom to ask; moves on when that one fails.
        self._deadline_s = deadline_s
        # The session: drawn anew in every life of the program, so that ids of an earlier life are never met again.
        self._client = common_pb2.Id128(high=secrets.randbits(64), low=secrets.randbits(64) | 1)
        self._lock = threading.Lock()
        self._free_slots = []
        self._sequences = []
        self._slot_freed = threading.Condition(self._lock)
        self._clock = None  # (fleet time in ms, our monotonic clock in s when we heard it)

    def close(self):
        for channel in self._channels:
            channel.close()

    # ---- operations

    def get(self, key, keyspace=0):
        """The value and its version (`timestamp`); None when there is none."""
        answer = self._read("Get", kv_pb2.GetRequest(keyspace=keyspace, key=key))
        return answer.value if answer.HasField("value") else None

    def batch_get(self, keys, keyspace=0):
        """One answer a key, as `get` gives it. Keys of one range are read at one moment; there is none over several ranges."""
        answer = self._read("BatchGet", kv_pb2.BatchGetRequest(keyspace=keyspace, keys=keys))
        return [found.value if found.HasField("value") else None for found in answer.values]

    def put(self, key, value, keyspace=0, expires_at_ms=0):
        """Writes a key. Gives its version."""
        request = kv_pb2.PutRequest(keyspace=keyspace, key=key, value=value, expires_at_ms=expires_at_ms)
        return self._write("Put", request).written.timestamp

    def delete(self, key, keyspace=0):
        return self._write("Delete", kv_pb2.DeleteRequest(keyspace=keyspace, key=key)).written.timestamp

    def compare_and_set(self, condition, mutation, keyspace=0):
        """A WriteResponse: either `written` or `condition_failed`, which says what the key looks like."""
        request = kv_pb2.CompareAndSetRequest(keyspace=keyspace, condition=condition, mutation=mutation)
        return self._write("CompareAndSet", request)

    def atomic_batch(self, mutations, conditions=(), keyspace=0):
        """A WriteResponse. Refused with `spans_ranges` when the keys lie in two ranges: cut it at `split_key`, or do without."""
        request = kv_pb2.AtomicBatchRequest(keyspace=keyspace, conditions=conditions, mutations=mutations)
        return self._write("AtomicBatch", request)

    def delete_range(self, start, end=None, keyspace=0):
        """Deletes page by page; each page is a write of its own. Gives how many keys existed."""
        deleted = 0
        while start is not None:
            answer = self._write("DeleteRange", kv_pb2.DeleteRangeRequest(keyspace=keyspace, start=start, end=end))
            deleted += answer.deleted
            start = answer.resume if answer.HasField("resume") else None
        return deleted

    def scan(self, start=b"", end=None, reverse=False, keyspace=0):
        """Rows, from any number of ranges, those of a range as of one timestamp. A stream that breaks is opened again where the
        last page ended, at the timestamp of that page if the range goes on."""
        request = kv_pb2.ScanRequest(keyspace=keyspace, start=start, end=end, reverse=reverse)
        retries = self._retries()
        while True:
            try:
                for page in self._stub(self._kv).Scan(request, timeout=60.0):
                    yield from page.rows
                    if not page.HasField("resume"):
                        return
                    setattr(request, "end" if reverse else "start", page.resume)
                    request.ClearField("part")
                    if page.HasField("part"):
                        request.part.CopyFrom(page.part)
                    retries = self._retries()  # It makes way: the next page has a deadline for itself.
                return
            except grpc.RpcError as error:
                self._try_again(error, rejection_of(error), retries)

    # ---- retrying

    def _read(self, method, request):
        retries = self._retries()
        while True:
            try:
                return getattr(self._stub(self._kv), method)(request, timeout=retries.attempt_s())
            except grpc.RpcError as error:
                self._try_again(error, rejection_of(error), retries)

    def _write(self, method, request):
        """Sends a write under one request id until it is known what became of it."""
        retries = self._retries()
        slot, sequence = self._take_slot(retries)
        try:
            # The same in all attempts: the store keeps what became of the write until no attempt can come any more.
            last_moment = self._last_moment(retries.left_s())
            may_be_done = False
            for attempt in itertools.count(1):
                request_id = common_pb2.RequestId(client=self._client, slot=slot, sequence=sequence)
                write = common_pb2.WriteAttempt(id=request_id, attempt=attempt, last_moment=last_moment)
                request.write.CopyFrom(write)
                try:
                    return getattr(self._stub(self._kv), method)(request, timeout=retries.attempt_s())
                except grpc.RpcError as error:
                    rejection = rejection_of(error)
                    reason = rejection.WhichOneof("reason") if rejection else None
                    may_be_done |= reason == "ambiguous" or (reason is None and error.code() in MAY_HAVE_ARRIVED)
                    if reason == "past_last_moment" and not may_be_done:
                        # Nothing was done under this id: only our idea of fleet time was wrong.
                        self._heard_time(rejection.past_last_moment.now)
                        retries.wait(0.0, error)
                        last_moment = self._last_moment(retries.left_s())
                        continue
                    try:
                        self._try_again(error, rejection, retries)
                    except (Refused, OutOfTime) as final:
                        # What this attempt met says nothing of an earlier one that was lost.
                        if may_be_done or reason == "stale_sequence":
                            raise Ambiguous(str(final)) from error
                        raise
        finally:
            # Also after an ambiguous end: a late attempt of this sequence can no longer touch a newer one.
            self._give_back(slot)

    def _try_again(self, error, rejection, retries):
        """Returns after a wait when another attempt may help; raises when it cannot."""
        reason = rejection.WhichOneof("reason") if rejection else None
        again = reason in WORTH_ANOTHER_ATTEMPT or (reason is None and error.code() in MAY_HAVE_ARRIVED)
        if not again:
            raise Refused(reason or error.code().name, error.details(), rejection) from error
        if reason != "busy":
            self._first += 1  # Another store may know better, or at least live.
        retries.wait(rejection.busy.retry_after_ms / 1000 if reason == "busy" else 0.0, error)

    def _retries(self):
        return _Retries(self._deadline_s)

    def _stub(self, stubs):
        return stubs[self._first % len(stubs)]

    # ---- request ids

    def _take_slot(self, retries):
        """A slot has one write at a time, and its sequence only grows. Few are better than many: each leaves a record."""
        with self._lock:
            while not self._free_slots and len(self._sequences) == MAX_SLOTS:
                if not self._slot_freed.wait(retries.left_s()):
                    raise OutOfTime("1,024 writes are under way")
            if self._free_slots:
                slot = self._free_slots.pop()
            else:
                slot = len(self._sequences)
                self._sequences.append(0)
            self._sequences[slot] += 1
            return slot, self._sequences[slot]

    def _give_back(self, slot):
        with self._lock:
            self._free_slots.append(slot)
            self._slot_freed.notify()

    # ---- fleet time

    def _last_moment(self, left_s):
        """Until when stores may evaluate a write: in fleet time, which is never our wall clock."""
        if self._clock is None:
            retries = self._retries()
            while self._clock is None:
                try:
                    answer = self._stub(self._fleet).Describe(fleet_pb2.DescribeRequest(), timeout=retries.attempt_s())
                    # A store that is no member of a fleet yet does not know.
                    if answer.now:
                        self._heard_time(answer.now)
                    else:
                        self._first += 1
                        retries.wait(0.0, "the store is not a member of a fleet yet")
                except grpc.RpcError as error:
                    self._try_again(error, rejection_of(error), retries)
        fleet_ms, heard_s = self._clock
        ahead_s = time.monotonic() - heard_s + min(left_s + CLOCK_OFFSET_S, MAX_AHEAD_S)
        return (fleet_ms + int(ahead_s * 1000)) << 16

    def _heard_time(self, timestamp):
        """A hybrid timestamp has 48 bits of milliseconds and 16 of a counter. Our idea of fleet time never goes back: a record is
        kept for as long as an earlier last moment may lie ahead of it, and no longer."""
        now = time.monotonic()
        heard_ms = timestamp >> 16
        if self._clock is not None:
            fleet_ms, heard_s = self._clock
            heard_ms = max(heard_ms, fleet_ms + int((now - heard_s) * 1000))
        self._clock = (heard_ms, now)


class _Retries:
    """How often one call has been tried, and how long it may go on."""

    def __init__(self, deadline_s):
        self._until = time.monotonic() + deadline_s
        self._waits = 0

    def left_s(self):
        return max(self._until - time.monotonic(), 0.0)

    def attempt_s(self):
        return max(min(self.left_s(), ATTEMPT_S), 0.001)

    def wait(self, at_least_s, why):
        wait_s = max(at_least_s, WAITS_S[min(self._waits, len(WAITS_S) - 1)])
        wait_s *= 1 + random.random() / 2  # So that clients do not come back all at once.
        self._waits += 1
        if wait_s >= self.left_s():
            raise OutOfTime(str(why))
        time.sleep(wait_s)
