"""What the checks share."""

import secrets
import time

import grpc
import thin_client
from holdfast.v1 import admin_pb2_grpc, common_pb2, fleet_pb2, fleet_pb2_grpc, kv_pb2, kv_pb2_grpc

DEADLINE_S = 20.0
# Nothing was done, and a moment later it may be: leaders move and ranges are cut while the checks run.
PASSING = {"not_leader", "wrong_range", "busy", "unavailable"}


class Patient:
    """A stub whose calls all have a deadline, because a call without one may wait for ever, and are made again when a store says that
    nothing was done and that this will pass."""

    def __init__(self, stub):
        self._stub = stub

    def __getattr__(self, method):
        call = getattr(self._stub, method)

        def ask(request, timeout=DEADLINE_S):
            until = time.monotonic() + timeout
            while True:
                try:
                    return call(request, timeout=timeout)
                except grpc.RpcError as error:
                    rejection = thin_client.rejection_of(error)
                    passing = rejection and rejection.WhichOneof("reason") in PASSING
                    if not passing or time.monotonic() > until:
                        raise
                    time.sleep(0.05)

        return ask


class World:
    """A running fleet, and names that no other run has."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.channels = [grpc.insecure_channel(address, thin_client.CHANNEL_OPTIONS) for address in addresses]
        self.kvs = [Patient(kv_pb2_grpc.KvStub(channel)) for channel in self.channels]
        self.fleets = [Patient(fleet_pb2_grpc.FleetStub(channel)) for channel in self.channels]
        self.admins = [Patient(admin_pb2_grpc.AdminStub(channel)) for channel in self.channels]
        self.kv, self.fleet, self.admin = self.kvs[0], self.fleets[0], self.admins[0]
        self.run = secrets.token_hex(4)
        self.client = common_pb2.Id128(high=secrets.randbits(64), low=secrets.randbits(64) | 1)
        self._last_slot = -1

    def close(self):
        for channel in self.channels:
            channel.close()

    def key(self, name):
        return f"python/{self.run}/{name}".encode()

    def prefix_end(self, name):
        """The first key behind all keys that begin with a name: the prefix with its last byte counted up."""
        prefix = self.key(name)
        return prefix[:-1] + bytes([prefix[-1] + 1])

    def fleet_ms(self):
        return self.fleet.Describe(fleet_pb2.DescribeRequest()).now >> 16

    def slot(self):
        """A slot that no other check uses."""
        self._last_slot += 1
        return self._last_slot

    def attempt(self, slot, sequence, number, last_moment_ms=None):
        """One attempt of a write. A last moment half a minute ahead, unless another is given."""
        request_id = common_pb2.RequestId(client=self.client, slot=slot, sequence=sequence)
        last_moment_ms = self.fleet_ms() + 30_000 if last_moment_ms is None else last_moment_ms
        return common_pb2.WriteAttempt(id=request_id, attempt=number, last_moment=last_moment_ms << 16)

    def put(self, name, value, write=None, store=0):
        """Writes a key; gives its version."""
        request = kv_pb2.PutRequest(key=self.key(name), value=value, write=write)
        return self.kvs[store].Put(request).written.timestamp

    def get(self, name):
        """The value of a key; None when there is none."""
        answer = self.kv.Get(kv_pb2.GetRequest(key=self.key(name)))
        return answer.value.value if answer.HasField("value") else None

    def versions(self, name):
        """How often a key was written: each version is read just below the one found before."""
        count, at = 0, 0
        while True:
            answer = self.kv.Get(kv_pb2.GetRequest(key=self.key(name), at=at))
            if not answer.HasField("value"):
                return count
            count += 1
            at = answer.value.timestamp - 1

    def raw_key(self, name):
        """A key as Fleet, Admin and Stream name it: four bytes of keyspace, then the key."""
        return (1).to_bytes(4, "big") + self.key(name)


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def refused(code, reason, call, *arguments, **more):
    """The typed refusal of a call that must fail. `reason` None: the status has no details."""
    try:
        answer = call(*arguments, **more)
        if hasattr(answer, "__next__"):
            answer = list(answer)
    except grpc.RpcError as error:
        rejection = thin_client.rejection_of(error)
        found = rejection.WhichOneof("reason") if rejection else None
        equal((error.code(), found), (code, reason))
        assert error.details() or error.code() == grpc.StatusCode.UNIMPLEMENTED, "a refusal says what is wrong"
        return rejection
    raise AssertionError(f"{answer!r} is no refusal")
