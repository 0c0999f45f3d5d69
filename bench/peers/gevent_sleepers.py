"""Peer gevent: very many greenlets, all asleep."""
import peer

gevent = peer.require("gevent", "python3-gevent")


def sleepers_bytes(options):
    peer.pin(options)
    asleep = 0

    def greenlet():
        nonlocal asleep
        asleep += 1
        gevent.sleep(3600)

    before = peer.memory()
    greenlets = [gevent.spawn(greenlet) for _ in range(options.count)]
    while asleep < len(greenlets):
        gevent.sleep(0)
    return (peer.memory() - before) / options.count


if __name__ == "__main__":
    peer.run({"sleepers_bytes": sleepers_bytes})
