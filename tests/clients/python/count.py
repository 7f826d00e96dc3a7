"""Counts with the thin client while a fleet has trouble: every success must be in the counter once. `run python count` starts it.

Prints a line for each hundred successes, until its standard input ends; then what the counter says, and what it should say, as JSON.
"""

import json
import os
import sys
import tempfile
import threading

import check

WRITERS = 6


def main():
    with tempfile.TemporaryDirectory(prefix="holdfast-python-") as out:
        check.generate(check.protos(), out)
        sys.path.insert(0, out)
        count()


def count():
    import thin_client
    from holdfast.v1 import kv_pb2

    client = thin_client.Client(os.environ["HOLDFAST_AT"].split(","), deadline_s=30.0, tls=os.environ.get("HOLDFAST_TLS"))
    key = b"count/python/%d" % os.getpid()
    client.put(key, b"0")
    lock, over, totals = threading.Lock(), threading.Event(), {"acknowledged": 0, "ambiguous": 0}

    def write():
        while not over.is_set():
            found = client.get(key)
            condition = kv_pb2.KeyCondition(key=key, version=found.timestamp)
            mutation = kv_pb2.KeyMutation(key=key, value=b"%d" % (int(found.value) + 1))
            try:
                done = client.compare_and_set(condition, mutation).HasField("written")
                ended = "acknowledged" if done else None
            except thin_client.Ambiguous:
                ended = "ambiguous"
            with lock:
                if ended:
                    totals[ended] += 1
                if ended == "acknowledged" and totals[ended] % 100 == 0:
                    print(totals[ended], flush=True)

    writers = [threading.Thread(target=write) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    sys.stdin.read()
    over.set()
    for writer in writers:
        writer.join()
    print(json.dumps({"counted": int(client.get(key).value), **totals}), flush=True)


if __name__ == "__main__":
    main()
