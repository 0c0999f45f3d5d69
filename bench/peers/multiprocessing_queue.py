"""Peer multiprocessing: a Queue of at most 1000 bytes objects from one process to another."""
import multiprocessing
import os
import statistics
import time

import peer

HEAD = 8  # bytes of a message that hold its number


def numbered(number, rest):
    return number.to_bytes(HEAD, "little") + rest


def insist(message, number, payload):
    if len(message) != payload or int.from_bytes(message[:HEAD], "little") != number:
        raise RuntimeError("a message was lost, out of order or of the wrong size")


class Pair:
    """Two queues and a process that runs body(there, back); it is killed at the end."""

    def __init__(self, options, body):
        if options.payload < HEAD:
            raise peer.Unavailable(f"needs a payload of {HEAD} bytes or more")
        fork = multiprocessing.get_context("fork")
        self.there, self.back = fork.Queue(1000), fork.Queue(1000)
        self.process = fork.Process(target=self.child, args=(options, body), daemon=True)
        self.process.start()
        peer.pin(options)

    def child(self, options, body):
        if options.cores:
            os.sched_setaffinity(0, options.cores[-1:])
        body(self.there, self.back)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()
        # What is still queued has no reader any more.
        self.there.cancel_join_thread()
        self.back.cancel_join_thread()


def messages_per_second(options):
    rest = b"x" * (options.payload - HEAD)

    def send(there, _):
        number = 0
        while True:
            there.put(numbered(number, rest))
            number += 1

    with Pair(options, send) as pair:
        number = 0

        def receive():
            nonlocal number
            insist(pair.there.get(), number, options.payload)
            number += 1

        def rate_over(seconds):
            first, start = number, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < seconds:
                receive()
            return (number - first) / elapsed

        receive()  # the sender is up
        rate_over(options.seconds / 4)
        return rate_over(options.seconds)


def round_trip_ns(options):
    rest = b"x" * (options.payload - HEAD)

    def echo(there, back):
        while True:
            back.put(there.get())

    with Pair(options, echo) as pair:
        number = 0

        def measure(seconds):
            nonlocal number
            trips, start = [], time.perf_counter_ns()
            before = start
            while before - start < seconds * 1e9:
                pair.there.put(numbered(number, rest))
                insist(pair.back.get(), number, options.payload)
                number += 1
                after = time.perf_counter_ns()
                trips.append(after - before)
                before = after
            return statistics.median(trips)

        measure(options.seconds / 4)
        return measure(options.seconds)


if __name__ == "__main__":
    peer.run(
        {
            "pipe_ring": messages_per_second,
            "pipe_ring_rtt": round_trip_ns,
            "pipe_stream": messages_per_second,
            "pipe_stream_coalesced": messages_per_second,
        }
    )
