"""Peer gevent: greenlets that wait for each other, or could."""
import peer

gevent = peer.require("gevent", "python3-gevent")
from gevent.event import Event
from gevent.lock import Semaphore
from gevent.queue import Queue


def event_pingpong(n):
    ping, pong = Event(), Event()

    def other():
        for _ in range(n):
            ping.wait()
            ping.clear()
            pong.set()

    greenlet = gevent.spawn(other)
    done = 0
    for _ in range(n):
        ping.set()
        pong.wait()
        pong.clear()
        done += 1
    greenlet.join()
    return done


def queue_pingpong(n):
    there, back = Queue(), Queue()

    def other():
        for _ in range(n):
            back.put(there.get())

    greenlet = gevent.spawn(other)
    done = 0
    for i in range(n):
        there.put(i)
        done += back.get() == i
    greenlet.join()
    return done


def queue_stream(n):
    queue = Queue(1024)

    def putter():
        for i in range(n):
            queue.put(i)

    greenlet = gevent.spawn(putter)
    done = 0
    for i in range(n):
        done += queue.get() == i
    greenlet.join()
    return done


def semaphore_uncontended(n):
    semaphore = Semaphore()
    for _ in range(n):
        semaphore.acquire()
        semaphore.release()
    return n


def timeout_scope(n):
    for _ in range(n):
        with gevent.Timeout(10):
            pass
    return n


if __name__ == "__main__":
    peer.run(
        {
            "event_pingpong": peer.timed(event_pingpong),
            "queue_pingpong": peer.timed(queue_pingpong),
            "queue_stream": peer.timed(queue_stream),
            "semaphore_uncontended": peer.timed(semaphore_uncontended),
            "timeout_scope": peer.timed(timeout_scope),
        }
    )
