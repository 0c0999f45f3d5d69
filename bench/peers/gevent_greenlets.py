"""Peer gevent: greenlets and their waits, on Debian's python3-gevent."""
import peer

try:
    import gevent
except ImportError:
    gevent = None


def with_gevent(body):
    def measure(options):
        if gevent is None:
            raise peer.Unavailable("python3-gevent is not installed")
        return peer.ns_per_operation(options, body)

    return measure


def yielding(count):
    def body(n):
        each = -(-n // count)

        def greenlet():
            sleep = gevent.sleep
            for _ in range(each):
                sleep(0)
            return each

        greenlets = [gevent.spawn(greenlet) for _ in range(count)]
        gevent.joinall(greenlets)
        return sum(greenlet.value for greenlet in greenlets)

    return with_gevent(body)


def spawn_join(n):
    done = 0

    def greenlet():
        nonlocal done
        done += 1

    spawn = gevent.spawn
    for _ in range(n):
        spawn(greenlet).join()
    return done


if __name__ == "__main__":
    peer.run({"yield_2": yielding(2), "yield_1000": yielding(1000), "spawn_join": with_gevent(spawn_join)})
