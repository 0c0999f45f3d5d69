"""What bench/support/bench.hpp is to the C++ programs: arguments, calibrated measurement, the line printed."""
import argparse
import json
import os
import sys
import time


class Unavailable(Exception):
    """This side cannot run the case here; the row gets null and the text."""


def ns_per_operation(options, body):
    """body(n) does at least n operations and returns how many it has counted."""
    os.sched_setaffinity(0, options.cores[:1] or os.sched_getaffinity(0))

    def timed(n):
        start = time.perf_counter_ns()
        done = body(n)
        elapsed = max(time.perf_counter_ns() - start, 1)
        if done < n:
            raise RuntimeError(f"asked for {n} operations, counted {done}")
        return elapsed, elapsed / done

    wanted = max(options.seconds, 1e-4) * 1e9
    n = 100
    elapsed, each = timed(n)
    while elapsed < wanted / 5:
        n = int(n * min(max(wanted / 4 / elapsed, 2), 100))
        elapsed, each = timed(n)
    return timed(max(int(wanted / each), 1))[1]


def run(operations):
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--cores", type=lambda text: [int(core) for core in text.split(",")], default=[])
    options = parser.parse_args()
    try:
        if options.case not in operations:
            raise Unavailable(f"this program has no operation {options.case}")
        print(json.dumps({"value": operations[options.case](options)}))
    except Unavailable as reason:
        print(json.dumps({"value": None, "note": str(reason)}))
    sys.stdout.flush()
