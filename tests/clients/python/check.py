"""Checks a running fleet from Python: every operation, and every kind of refusal, with code generated from our .proto files.

    HOLDFAST_AT=127.0.0.1:7300,127.0.0.1:7310,127.0.0.1:7320 python check.py

HOLDFAST_AT has the client addresses of a fleet of at least three sites. HOLDFAST_PROTO names the folder with the .proto files; without it
the one of the checkout is used. Prints a line for each check; exits with 1 when one fails. Keys of other programs are not touched.
"""

import importlib
import os
import pathlib
import sys
import tempfile
import traceback

from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PUBLIC = ["common", "trust", "rights", "audit", "kv", "fleet", "admin"]
# The first cuts ranges, so that the others meet several.
MODULES = ["check_admin", "check_kv", "check_errors", "check_once", "check_stream", "check_fleet", "check_thin"]


def generate(folder, out):
    """What a program does once, when it is built: messages and stubs from the .proto files."""
    files = [f"holdfast/v1/{name}.proto" for name in PUBLIC]
    code = protoc.main(["protoc", f"-I{folder}", f"--python_out={out}", f"--grpc_python_out={out}", *files])
    if code != 0:
        sys.exit("the .proto files are refused")


def protos():
    """The folder with the .proto files."""
    return os.environ.get("HOLDFAST_PROTO") or HERE.parents[2] / "proto" / "proto"


def main():
    addresses = [address.strip() for address in os.environ.get("HOLDFAST_AT", "").split(",") if address.strip()]
    if not addresses:
        sys.exit("HOLDFAST_AT must name the client addresses of a running fleet: host:port,host:port,...")
    with tempfile.TemporaryDirectory(prefix="holdfast-python-") as out:
        generate(protos(), out)
        sys.path[:0] = [out, str(HERE)]
        checks = importlib.import_module("checks")
        world = checks.World(addresses)
        failed, count = 0, 0
        for name in MODULES:
            for check in importlib.import_module(name).CHECKS:
                count += 1
                what = check.__name__.replace("_", " ")
                try:
                    check(world)
                    print(f"ok    {what}", flush=True)
                except Exception:  # A check may fail in any way; the others go on.
                    failed += 1
                    print(f"FAIL  {what}\n{traceback.format_exc()}", flush=True)
        world.close()
    print(f"python: {count} checks, {failed} of them failed")
    sys.exit(1 if failed or not count else 0)


if __name__ == "__main__":
    main()
