"""Peer gevent: greenlets that are spawned and switch, on Debian's python3-gevent."""
import peer

gevent = peer.require("gevent", "python3-gevent")


def take_turns(options, loop):
    """Greenlets that yield to each other: loop(i, n) yields n times, the i-th one's way."""

    def body(n):
        each = -(-n // options.count)

        def greenlet(i):
            loop(i, each)
            return each

        greenlets = [gevent.spawn(greenlet, i) for i in range(options.count)]
        gevent.joinall(greenlets)
        return sum(greenlet.value for greenlet in greenlets)

    return peer.ns_per_operation(options, body)


def yielding(_, n):
    sleep = gevent.sleep
    for _ in range(n):
        sleep(0)


def yielding_float(i, n):
    """As bench/support/float_flags.hpp: every other one overflows, the others are only inexact."""
    sleep = gevent.sleep
    factor = (0.1, 1e308)[i % 2]
    for _ in range(n):
        factor * 10.1
        sleep(0)


def spawn_join(options):
    done = 0

    def greenlet():
        nonlocal done
        done += 1

    def one_by_one(n):
        nonlocal done
        done = 0
        spawn = gevent.spawn
        for _ in range(n):
            spawn(greenlet).join()
        return done

    def many_at_once(n):
        nonlocal done
        done = 0
        while done < n:
            gevent.joinall([gevent.spawn(greenlet) for _ in range(options.count)])
        return done

    return peer.ns_per_operation(options, many_at_once if options.count else one_by_one)


if __name__ == "__main__":
    peer.run(
        {
            "yield": lambda options: take_turns(options, yielding),
            "yield_float": lambda options: take_turns(options, yielding_float),
            "spawn_join": spawn_join,
        }
    )
