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
import os
import statistics
import time
import urllib.request

from kit import KIT, SERVER, SESSION, STREAM, cpu_seconds, open_streams, start, stop

# server, streams
CASES = {
    "limit": ([os.path.join(KIT, "build", "limitd")], ["--path", "/sub"]),
    "session": (SERVER, ["--path", STREAM, "--header", SESSION]),
    "keys": (SERVER, ["--path", STREAM + "?key=bench-{i}"]),
}
KEEPALIVE_SECONDS = 30


def send_to_all(port):
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/pub", b"keepalive", method="POST")).close()


def measure(tabs, name):
    command, streams = CASES[name]
    server, port = start(command, core=0)
    load = None
    try:
        load, _ = open_streams(port, 1, tabs, streams)
        # The garbage of opening is collected, and the first keepalives are due.
        time.sleep(KEEPALIVE_SECONDS + 5)
        before = cpu_seconds(server.pid)
        for _ in range(2):
            if name == "limit":
                send_to_all(port)
            time.sleep(KEEPALIVE_SECONDS)
        return (cpu_seconds(server.pid) - before) / (2 * KEEPALIVE_SECONDS) * 100
    finally:
        stop(load, server)


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
