#!/usr/bin/env python3
"""How the rate of connecting grows from one worker to two, each of which may use half a core.

    BENCH_KIT=folder python3 test/bench/workers.py [--runs 3]

With two cores a second worker would otherwise take its time from the load generator. The kernel holds each worker to its
half (CPU control group; needs root); all are on one core, the load generator is alone on the other. Each server is
connected to three times by 10,000 tabs of a remembered session; the first time it is also compiling.
"""
import argparse
import contextlib
import os
import statistics
import time

from kit import SERVER, SESSION, STREAM, broker, children, open_streams, start, stop

TABS = 10_000
ROUNDS = 3
V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
GROUPS = "/sys/fs/cgroup" if V2 else "/sys/fs/cgroup/cpu"
# 5 ms of every 10
HALF = [("cpu.max", "5000 10000")] if V2 else [("cpu.cfs_period_us", "10000"), ("cpu.cfs_quota_us", "5000")]


@contextlib.contextmanager
def half_a_core(pid):
    folder = f"{GROUPS}/lightcone-bench-{pid}"
    os.mkdir(folder)
    try:
        for name, value in HALF:
            write(f"{folder}/{name}", value)
        write(f"{folder}/cgroup.procs", pid)
        yield
    finally:
        # A group can be removed once nobody is in it.
        with contextlib.suppress(OSError):
            write(f"{GROUPS}/cgroup.procs", pid)
        os.rmdir(folder)


def write(file, value):
    with open(file, "w") as out:
        out.write(str(value))


def measure(amqp, workers):
    """@returns connections per second of each round"""
    settings = {"NODE_ENV": "production", "BENCH_AMQP_URL": amqp, "BENCH_WORKERS": str(workers)}
    server, port = start(SERVER, core=0, env={**os.environ, **settings})
    try:
        pids = children(server.pid) if workers > 1 else [server.pid]
        if len(pids) != workers:
            raise SystemExit(f"{len(pids)} processes where {workers} workers should be")
        with contextlib.ExitStack() as groups:
            for pid in pids:
                groups.enter_context(half_a_core(pid))
            rates = []
            for _ in range(ROUNDS):
                load, seconds = open_streams(port, 1, TABS, ["--path", STREAM, "--header", SESSION], inflight=256)
                rates.append(TABS / seconds)
                stop(load)
                time.sleep(3)
            return rates
    finally:
        stop(server)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    rates = {1: [], 2: []}
    with broker() as amqp:
        for _ in range(args.runs):
            for workers, runs in rates.items():
                runs.append(measure(amqp, workers))
    one, two = ([statistics.median(each) for each in zip(*runs)] for runs in rates.values())
    for round_, (alone, both) in enumerate(zip(one, two), 1):
        print(f"round {round_}: {alone:,.0f} connections/s with one worker, {both:,.0f} with two: {both / alone:.2f}")


main()
