"""Peer gevent: an echo server. Prints where it listens, as bench/support/server.hpp says."""
import socket
import sys

try:
    from gevent.server import StreamServer
except ImportError:
    print("python3-gevent is not installed")
    sys.exit(0)


def serve(connection, _):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(1024):
        connection.sendall(data)


if __name__ == "__main__":
    server = StreamServer(("127.0.0.1", 0), serve, backlog=4096)
    server.start()
    print(f"port {server.server_port}", flush=True)
    server.serve_forever()
