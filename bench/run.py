#!/usr/bin/python3
"""Runs the benchmark cases of cases.toml, all sides of a case in turns, and compares the medians.

Started by scripts/bench, which installs and builds first. Each run is a process of its own: pinned,
with a time limit, a directory of its own as TMPDIR, and killed with everything it started.
"""
import argparse
import ctypes
import fnmatch
import glob
import json
import os
import pathlib
import select
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"  # the one that Debian's python3-* packages belong to
PEERS = "gevent go boost_fiber zeromq boost_interprocess multiprocessing redis nats copy kj nginx libev libuv asio".split()
SIDES = ["greensup", "limit", *PEERS]
STEADY = 0.8  # a series whose min/median is below was disturbed by something else
ATTEMPTS = 3  # how often a disturbed case is measured in all
libc = ctypes.CDLL(None)


class Failed(Exception):
    """A program crashed, took too long, or printed something that is no result."""


def load_cases(path):
    with open(path, "rb") as file:
        cases = tomllib.load(file)["cases"]
    for name, case in cases.items():
        good = (
            set(case) - {"load"} == {"unit", "better", "cores", "sides"}
            and case["better"] in ("lower", "higher")
            and case["cores"] in (1, 2)
            and set(case["sides"]) <= set(SIDES)
        )
        if not good:
            sys.exit(f"{path}: case {name} has an unknown key, side or value, or lacks one")
        case["sides"] = {side: case["sides"][side] for side in SIDES if side in case["sides"]}
    return cases


class Runner:
    def __init__(self, options):
        self.options = options
        self.bin = options.build.resolve() / "bin" / "bench"
        self.cores = sorted(os.sched_getaffinity(0))

    def command(self, program):
        """The command line of a side, or None and the reason why there is none."""
        name, *arguments = shlex.split(program)
        if name.endswith(".py"):
            return [PYTHON, "-B", str(HERE / "peers" / name), *arguments], None
        missing = self.bin / (name + ".missing")
        if missing.exists():
            return None, missing.read_text().strip()
        if not (self.bin / name).exists():
            return None, f"{name} is not built"
        return [str(self.bin / name), *arguments], None

    def arguments(self, name, cores):
        """What every program that measures is called with."""
        words = [name, "--seconds", str(self.options.seconds), "--cores", f"{cores[0]},{cores[-1]}"]
        return words + (["--at-most", str(self.options.at_most)] if self.options.at_most else [])

    def run_once(self, command, cores):
        """One run in a process of its own: its result as a dict. Nothing it started outlives the call."""
        limit = 60 + 20 * self.options.seconds  # a million sleepers take their time, more so when disturbed

        def in_child():
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it dies with us
            os.sched_setaffinity(0, set(cores))
            if not self.options.no_nice:
                try:
                    os.setpriority(os.PRIO_PROCESS, 0, -15)
                except PermissionError:
                    pass

        with tempfile.TemporaryDirectory(prefix="greensup-bench-") as directory:
            out, err = pathlib.Path(directory, "stdout"), pathlib.Path(directory, "stderr")
            with open(out, "wb") as stdout, open(err, "wb") as stderr:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env={**os.environ, "TMPDIR": directory, "LC_ALL": "C"},
                    start_new_session=True,
                    preexec_fn=in_child,
                )
            try:
                pidfd = os.pidfd_open(child.pid)
                try:
                    poll = select.poll()
                    poll.register(pidfd, select.POLLIN)
                    ended = bool(poll.poll(limit * 1000))
                finally:
                    os.close(pidfd)
            finally:
                # Before the wait: as long as it is not reaped, its number can mean no other group.
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                for left in glob.glob(f"/dev/shm/greensup-bench-{child.pid}*"):
                    os.unlink(left)
            words = err.read_text(errors="replace").strip().splitlines()
            if not ended:
                raise Failed(f"not done after {limit:.0f} s")
            if child.returncode != 0:
                end = f"exit status {child.returncode}"
                if child.returncode < 0:
                    end = signal.Signals(-child.returncode).name
                raise Failed(": ".join([end, *words[-1:]]))
            try:
                result = json.loads(out.read_text())
                if result["value"] is not None:
                    result["value"] = float(result["value"])
                return result
            except (ValueError, KeyError, TypeError):
                raise Failed(f"printed no result: {out.read_text(errors='replace')[:80]!r}") from None

    def series_of(self, name, case, programs):
        """All sides in turns, `runs` rounds. Gives the series, the notes and the failures, each by side.

        A side that says it cannot run here has a note; one that fails has a failure; neither has a series.
        """
        cores = self.cores[: case["cores"]]
        commands, series, notes, failures = {}, {}, {}, {}
        for side, program in programs.items():
            command, reason = self.command(program)
            if len(cores) < case["cores"]:
                reason = f"needs {case['cores']} cores"
            if reason:
                notes[side] = reason
                continue
            series[side], arguments = [], self.arguments(name, cores)
            if "load" in case:
                commands[side] = [str(self.bin / case["load"]), *arguments, "--", *command]
            else:
                commands[side] = [*command, *arguments]
        for turn in range(self.options.runs):
            for side in list(commands):
                progress(f"{name}: {side} {turn + 1}/{self.options.runs}")
                try:
                    result = self.run_once(commands[side], cores)
                except Failed as failure:
                    failures[side] = str(failure)
                    result = {"value": None}
                if "note" in result:
                    notes[side] = result["note"]
                if result["value"] is None:
                    notes.setdefault(side, "cannot run here")
                    del commands[side], series[side]
                else:
                    series[side].append(result["value"])
        progress("")
        return series, notes, failures

    def measure(self, name, case, programs):
        """Measures the case, again if it was disturbed; the steadiest attempt counts, whole."""
        best = None
        for attempt in range(1, ATTEMPTS + 1):
            series, notes, failures = self.series_of(name, case, programs)
            steadiness = min(map(steady, series.values()), default=1)
            if best is None or failures or steadiness > best[0]:
                best = steadiness, series, notes, failures
            if failures or steadiness >= STEADY or self.options.runs < 3:
                break
            print(f"{name}: min/median {steadiness:.2f}, attempt {attempt} of {ATTEMPTS}", file=sys.stderr)
        _, series, notes, failures = best
        for side, values in series.items():
            if len(values) >= 3 and steady(values) < STEADY:
                words = f"disturbed: min/median {steady(values):.2f} in the best of {ATTEMPTS} attempts"
                notes[side] = "; ".join(filter(None, [notes.get(side), words]))
        notes |= {side: "failed: " + text for side, text in failures.items()}
        return series, notes, bool(failures)


def steady(values):
    median = statistics.median(values)
    return min(values) / median if median else 1


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def figure(value, unit):
    if value is None:
        return "-"
    if unit.endswith("/s"):
        for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if value >= scale:
                return f"{value / scale:.2f}{letter} {unit}"
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"


def factor(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row_of(name, case, chosen, series, notes, at_most):
    medians = {side: statistics.median(values) for side, values in series.items()}
    row = {
        "case": name,
        "unit": case["unit"],
        "better": case["better"],
        "greensup": medians.get("greensup"),
        "peers": {side: medians.get(side) for side in chosen if side in PEERS},
        "limit": medians.get("limit"),
    }
    left_out = [side for side in case["sides"] if side not in chosen]
    words = [f"{side}: {text}" for side, text in notes.items()]
    words += ["left out by --sides: " + " ".join(left_out)] if left_out else []
    words += [f"no measurement: run with --at-most {at_most}"] if at_most else []
    if words:
        row["note"] = "; ".join(words)
    return row


def table_of(row, chosen, series):
    """The lines of one case: side, median, how greensup compares, min/median, the range."""
    ours = row["greensup"]
    for side in chosen:
        theirs = row[side] if side in row else row["peers"][side]
        ratio = ""
        if ours and theirs and side == "limit":
            ratio = f"{factor(ours / theirs)} x limit"
        elif ours and theirs and side != "greensup":
            better = theirs / ours if row["better"] == "lower" else ours / theirs
            ratio = f"{factor(better)} x better"
        values = series.get(side)
        quality = f"{steady(values):.2f}" if values else ""
        span = f"{figure(min(values), row['unit'])} .. {figure(max(values), row['unit'])}" if values else ""
        yield [row["case"], side, figure(theirs, row["unit"]), ratio, quality, span]


def print_table(lines, rows):
    head = ["case", "side", "median", "greensup is", "min/median", "range"]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    last = None
    for line in [head, *lines]:
        if line[0] != last:
            print() if last else None
            last = line[0]
        cells = [line[0].ljust(widths[0]), line[1].ljust(widths[1])]
        cells += [line[i].rjust(widths[i]) for i in (2, 3, 4)]
        print("  ".join([*cells, line[5]]).rstrip())
    notes = [row for row in rows if "note" in row]
    if notes:
        print()
    for row in notes:
        print(f"note  {row['case']}: {row['note']}")


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Runs our benchmarks and the peers side by side; writes build/bench/results.json and prints it.",
    )
    parser.add_argument("pattern", nargs="*", help="cases to run: shell glob or substring (default: all)")
    parser.add_argument("--list", action="store_true", help="list the cases and their sides, run nothing")
    parser.add_argument("--runs", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a run (default 0.3)")
    parser.add_argument("--at-most", type=int, help="cut every number of greenlets, connections, timers to it (for tests)")
    parser.add_argument("--sides", help="only these, by comma: greensup, limit, peers (default: all)")
    parser.add_argument("--strict", action="store_true", help="fail also when a chosen side cannot run here")
    parser.add_argument("--no-nice", action="store_true", help="keep the priority (default: -15, where allowed)")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build" / "bench", help="build directory")
    parser.add_argument("--output", type=pathlib.Path, help="default: BUILD/results.json")
    options = parser.parse_args()
    if options.runs < 1 or options.seconds <= 0 or options.at_most == 0:
        parser.error("--runs, --seconds and --at-most must be positive")
    options.sides = options.sides.split(",") if options.sides else SIDES
    if unknown := set(options.sides) - set(SIDES):
        parser.error(f"no such side: {' '.join(sorted(unknown))} (there are {' '.join(SIDES)})")
    options.output = options.output or options.build / "results.json"
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run under way is cleaned up
    cases = load_cases(HERE / "cases.toml")
    if options.pattern:
        wanted = lambda name: any(fnmatch.fnmatchcase(name, p) or p in name for p in options.pattern)
        cases = {name: case for name, case in cases.items() if wanted(name)}
    if not cases:
        sys.exit(f"no case matches {' '.join(options.pattern)} (scripts/bench --list shows them)")
    if options.list:
        for name, case in cases.items():
            print(f"{name:32} {case['unit']:12} {' '.join(case['sides'])}")
        return 0

    busy = os.getloadavg()[0]
    if busy > 0.5 and options.runs >= 3:
        print(f"warning: load average {busy:.2f}; something else is running, compare only ratios", file=sys.stderr)
    runner = Runner(options)
    rows, raw, lines, good = [], {}, [], True
    for name, case in cases.items():
        programs = {side: program for side, program in case["sides"].items() if side in options.sides}
        series, notes, failed = runner.measure(name, case, programs)
        rows.append(row_of(name, case, programs, series, notes, options.at_most))
        raw[name] = series
        lines += table_of(rows[-1], programs, series)
        good = good and not failed and (not options.strict or len(series) == len(programs))
        # After every case: what was measured is kept when a later one is interrupted.
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
        options.output.with_suffix(".series.json").write_text(json.dumps(raw, indent=1) + "\n")
    print_table(lines, rows)
    print(f"\nmedians of {options.runs} runs of {options.seconds} s, sides in turns; written to {options.output}")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
