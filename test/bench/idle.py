#!/usr/bin/env python3
"""What an idle worker costs, by the clock of its scheduler, with the load generator of a benchmark kit as its tabs.

    BENCH_KIT=folder [BENCH_AMQP_URL=…] [BENCH_DATABASE_URL=…] python3 test/bench/idle.py [--tabs 18000] [--runs 3]

The worker is `server.ts` of this folder (compiled by `npm run bench -- --only start`), alone on one core; without the
two URLs it is the embedded default. Unlike the idle figure of `npm run bench`, whose tabs are read by a Node.js process,
receiving takes little of the machine here. Prints the share of a core in percent, over two keepalive intervals.

`limit`     the kit's C program, which is told to send a few bytes to every tab as often as keepalives are due
`session`   all tabs of one remembered session
`keys`      distinct users with API keys, whose permission is looked at again all the time
"""
import argparse
import glob
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = os.path.join(HERE, "build", "test", "bench", "server.js")
KIT = os.environ.get("BENCH_KIT") or sys.exit(__doc__)
COOKIE = "galaxysession=c6ca0ddb55be603a55fe2f86156564e5ebb7ef842b6c3b8955fe2f86156564e5ebb7ef842b6c3b89"
STREAM = "/api/events/stream"
# server, streams
CASES = {
    "limit": ([os.path.join(KIT, "build", "limitd")], ["--path", "/sub"]),
    "session": (["node", "--expose-gc", SERVER], ["--path", STREAM, "--header", "Cookie: " + COOKIE]),
    "keys": (["node", "--expose-gc", SERVER], ["--path", STREAM + "?key=bench-{i}"]),
}
KEEPALIVE_SECONDS = 30


def free_port():
    """Below those that the kernel hands out; the server takes the next one, too."""
    while True:
        port = random.randrange(10000, 32000)
        if not listens(port) and not listens(port + 1):
            return port


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def cpu_seconds(pid):
    threads = glob.glob(f"/proc/{pid}/task/*/schedstat")
    return sum(int(open(it).read().split()[0]) for it in threads) / 1e9


def send_to_all(port):
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/pub", b"keepalive", method="POST")).close()


def measure(tabs, name):
    server, streams = CASES[name]
    port = free_port()
    worker = subprocess.Popen(["taskset", "-c", "0", *server, str(port)], stdout=subprocess.DEVNULL)
    load = None
    try:
        while not listens(port):
            time.sleep(0.1)
        load = subprocess.Popen(
            ["taskset", "-c", "1", os.path.join(KIT, "build", "sseload"), "--port", str(port), *streams, "--conns", str(tabs),
             "--src", "4", "--marker", "none", "--wait-go", "--max-secs", "200", "--secs", "0.5", "--inflight", "64"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = load.stdout.readline().split()
        if ready[0] != "READY":
            sys.exit(f"not all of {tabs} streams could be opened: {ready}")
        # The garbage of opening is collected, and the first keepalives are due.
        time.sleep(KEEPALIVE_SECONDS + 5)
        before = cpu_seconds(worker.pid)
        for _ in range(2):
            if name == "limit":
                send_to_all(port)
            time.sleep(KEEPALIVE_SECONDS)
        return (cpu_seconds(worker.pid) - before) / (2 * KEEPALIVE_SECONDS) * 100
    finally:
        for process in filter(None, [load, worker]):
            process.terminate()
            process.communicate()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tabs", type=int, default=18000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    shares = {name: [] for name in CASES}
    for _ in range(args.runs):
        for name, values in shares.items():
            values.append(measure(args.tabs, name))
    for name, values in shares.items():
        runs = " ".join(f"{it:.2f}" for it in values)
        print(f"{name}: {statistics.median(values):.2f} % of a core with {args.tabs} tabs ({runs})")


main()
