"""Is any of a million wakeups lost, or out of order?

Eight threads post 125,000 payloads each, every power of two from 1 B to 64 KiB as often as the
others, while 10,000 other connections are open and the loop handles what comes. Each thread posts
to a connection of its own, so the receiver knows which payload must be next, whatever its size. A
refused post (the queue is full: it is bounded) is counted and tried again.
"""

import random
import resource
import socket
import subprocess
import sys
import threading
import time

import pymongoose as m

THREADS, POSTS, IDLE, QUEUE = 8, 125_000, 10_000, 64 << 20
DEADLINE = 150


def sizes(thread):
    """The sizes thread's payloads have, in order; the receiver draws the same."""
    draw = random.Random(thread)
    return [1 << draw.randrange(17) for _ in range(POSTS)]


def payload(i, size, pad):
    return i.to_bytes(8, "little")[:size] + pad[: max(0, size - 8)]


class Receiver:
    def __init__(self):
        self.accepted = self.delivered = self.wrong = self.bytes = 0
        self.expected = {}  # connection id -> iterator of (i, size)

    def __call__(self, conn, ev, data):
        if ev == m.MG_EV_WAKEUP:
            i, size = next(self.expected[conn.id])
            self.wrong += len(data) != size or data[:8] != i.to_bytes(8, "little")[:size]
            self.delivered += 1
            self.bytes += size
        elif ev == m.MG_EV_ACCEPT:
            self.accepted += 1


def post(mgr, target, order, refused, thread):
    pad = b"x" * 65536
    for i, size in enumerate(order):
        data = payload(i, size, pad)
        while not mgr.wakeup(target, data):
            refused[thread] += 1
            time.sleep(0.001)


def hold(port, count):
    """The other process: open so many connections and keep them until standard input ends."""
    kept = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(count)]
    sys.stdin.read()
    for s in kept:
        s.close()


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    receiver = Receiver()
    mgr = m.Manager(receiver, enable_wakeup=True, wakeup_limit=QUEUE)
    crowd = mgr.listen("tcp://127.0.0.1:0", limits=m.Limits(max_connections=IDLE + 100))
    port = crowd.local_addr[1]
    holder = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.wakeups", str(port), str(IDLE)], stdin=subprocess.PIPE
    )
    while receiver.accepted < IDLE:
        mgr.poll(100)
    targets = [mgr.listen("tcp://127.0.0.1:0").id for _ in range(THREADS)]
    orders = [sizes(t) for t in range(THREADS)]
    receiver.expected = {targets[t]: iter(enumerate(orders[t])) for t in range(THREADS)}
    refused = [0] * THREADS
    threads = [
        threading.Thread(target=post, args=(mgr, targets[t], orders[t], refused, t), daemon=True)
        for t in range(THREADS)
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    for t in threads:
        t.start()
    total = THREADS * POSTS
    while receiver.delivered < total and time.monotonic() - start < DEADLINE:
        mgr.poll(100)
    took = time.monotonic() - start
    mgr.poll(0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    holder.stdin.close()
    holder.wait()
    mgr.close()
    print(
        "| posts | delivered | lost | out of order or wrong | refused, then tried again | seconds "
        "| posts/s | MB/s | memory grew by, MiB |"
    )
    print("|" + "---|" * 9)
    lost = total - receiver.delivered
    print(
        f"| {total:,} | {receiver.delivered:,} | {lost:,} | {receiver.wrong:,} | {sum(refused):,} | {took:.1f} | "
        f"{receiver.delivered / took:,.0f} | {receiver.bytes / took / 1e6:,.0f} | {grown:.0f} |"
    )
    print(
        f"\n{THREADS} threads, {IDLE:,} other connections, at most {QUEUE >> 20} MiB may wait in the queue."
    )
    sys.exit(bool(lost or receiver.wrong))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        hold(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
