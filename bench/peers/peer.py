"""What bench/support/bench.hpp is to the C++ programs: arguments, calibrated measurement, the line printed."""
import argparse
import importlib
import json
import os
import re
import sys
import time


class Unavailable(Exception):
    """This side cannot run the case here; the row gets null and the text."""


def require(module, package):
    """The module; without it the program ends here, with the note that the package is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        print(json.dumps({"value": None, "note": f"{package} is not installed"}))
        sys.exit(0)


def pin(options):
    os.sched_setaffinity(0, options.cores[:1] or os.sched_getaffinity(0))


def memory():
    """Resident memory and page tables of this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return 1024 * sum(int(fields[key].split()[0]) for key in ("VmRSS", "VmPTE"))


def timed(body):
    """The operation that calls body(n), which has no use for the count of the case."""
    return lambda options: ns_per_operation(options, body)


def ns_per_operation(options, body):
    """body(n) does at least n operations and returns how many it has counted."""
    pin(options)

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


def read_name(case):
    """sleepers_100k_bytes is the operation sleepers_bytes with a count of 100 000, pipe_ring_1KiB_2core is pipe_ring
    with a payload of 1024 bytes. What the name does not say is 0."""
    count, payload, words = 0, 0, []
    for word in re.sub(r"_[12]core$", "", case).split("_"):
        if size := re.fullmatch(r"(\d+)(B|KiB|MiB)", word):
            payload = int(size[1]) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[size[2]]
        elif number := re.fullmatch(r"(\d+)([kM]?)", word):
            count = int(number[1]) * {"": 1, "k": 1000, "M": 1_000_000}[number[2]]
        else:
            words.append(word)
    return "_".join(words), count, payload


def run(operations):
    """operations: name to a function of the options, which returns the figure of one run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--cores", type=lambda text: [int(core) for core in text.split(",")], default=[])
    parser.add_argument("--at-most", type=int, default=sys.maxsize)
    options = parser.parse_args()
    operation, options.count, options.payload = read_name(options.case)
    options.count = min(options.count, options.at_most)
    try:
        if operation not in operations:
            raise Unavailable(f"this program has no operation {operation}")
        print(json.dumps({"value": operations[operation](options)}))
    except Unavailable as reason:
        print(json.dumps({"value": None, "note": str(reason)}))
    sys.stdout.flush()
