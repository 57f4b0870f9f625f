"""A plain reader of QEMU's replay log (version 0xe0200c, QEMU 7.2 to 10.2): the peer of bench/replay-log.ts.

Usage: replay-log.py FILE. Prints events, the final icount, console bytes, seconds, peak memory in KB.
"""

import resource
import struct
import sys
import time

FIXED = {0: 4, 3: 8, 4: 8, 8: 8, 22: 8, 24: 4, 25: 8, 28: 8, 29: 8}
INPUT = {1: 5, 2: 12, 3: 12, 4: 32}


def read_log(path):
    with open(path, "rb") as file:
        data = file.read()
    if struct.unpack_from(">I", data, 0)[0] != 0xE0200C:
        raise SystemExit("not a replay log of version 0xe0200c")
    at, events, icount, console = 12, 0, 0, 0
    while True:
        kind = data[at]
        events += 1
        if kind == 0:
            icount += int.from_bytes(data[at + 1 : at + 5], "big")
            at += 5
        elif kind == 39:
            return events, icount, console, len(data)
        elif kind in FIXED:
            if kind == 22:
                console += int.from_bytes(data[at + 5 : at + 9], "big")
            at += 1 + FIXED[kind]
        elif kind == 5:
            what, key = struct.unpack_from(">II", data, at + 1)
            at += 5 + (INPUT[what] if what else (13 if key == 0 else 9))
        elif kind == 7:
            at += 6 + struct.unpack_from(">I", data, at + 2)[0]
        elif kind == 9:
            at += 10 + struct.unpack_from(">I", data, at + 6)[0]
        elif kind == 23:
            at += 5 + struct.unpack_from(">I", data, at + 1)[0]
        elif kind == 26:
            at += 17 + 16 * struct.unpack_from(">Q", data, at + 1)[0]
        elif kind == 27:
            at += 9 + struct.unpack_from(">I", data, at + 5)[0]
        elif kind < 39:
            at += 1
        else:
            raise SystemExit(f"unknown kind {kind} at {at}")


begin = time.perf_counter()
result = read_log(sys.argv[1])
seconds = time.perf_counter() - begin
print(*result[:3], seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
