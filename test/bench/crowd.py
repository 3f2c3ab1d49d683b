#!/usr/bin/env python3
"""The first connections of a crowd: distinct callers that the worker does not remember, beside nchan, which asks nobody.

    BENCH_KIT=folder python3 test/bench/crowd.py [--rounds 5] [--inflight 256]

All servers run at once, each one process, on one core, the load generator on the other. In each round 10,000 tabs connect
to one server after the other, each time other users than before; the first round, in which code is compiled, does not count.
Statements are by PostgreSQL's own count: all that the worker sends meanwhile. Needs psql beside what the kit needs.
"""
import argparse
import contextlib
import os
import statistics
import subprocess
import time
from urllib.parse import urlsplit

from kit import KIT, SERVER, SESSION, STREAM, children, cpu_seconds, open_streams, services, start, stop

TABS = 10_000
KEYS = ["--path", STREAM + "?key=bench-{i}"]
# server, on PostgreSQL, streams
CASES = {
    "nchan": ([os.path.join(KIT, "servers", "nchan.sh")], False, ["--path", "/sub?c=b"]),
    "remembered session": (SERVER, False, ["--path", STREAM, "--header", SESSION]),
    "distinct keys, SQLite": (SERVER, False, KEYS),
    "distinct keys, PostgreSQL": (SERVER, True, KEYS),
}


def ask(url, sql):
    return subprocess.run(["psql", "-XAtq", url, "-c", sql], check=True, capture_output=True, text=True).stdout


def cpu_of(pid):
    return sum(map(cpu_seconds, [pid, *children(pid)]))


def measure(server, port, options, number, inflight, statements):
    """@returns connections a second, CPU µs of each, and statements"""
    before = statements()
    used = cpu_of(server.pid)
    load, seconds = open_streams(port, 1, TABS, [*options, "--first", str(number * TABS)], inflight=inflight)
    used = cpu_of(server.pid) - used
    asked = statements() - before
    stop(load)
    time.sleep(1)
    return TABS / seconds, used / TABS * 1e6, asked


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inflight", type=int, default=256)
    args = parser.parse_args()
    figures = {name: [] for name in CASES}
    with services("--postgres") as urls, contextlib.ExitStack() as servers:
        ask(urls["postgres"], "CREATE DATABASE crowd")
        database = urlsplit(urls["postgres"])._replace(path="/crowd").geturl()
        count = "SELECT sum(calls) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = 'crowd'"
        env = {**os.environ, "NODE_ENV": "production", "BENCH_USERS": str((args.rounds + 1) * TABS)}
        running = {}
        for name, (command, on_postgres, options) in CASES.items():
            more = {"BENCH_AMQP_URL": urls["amqp"], "BENCH_DATABASE_URL": database} if on_postgres else {}
            server, port = start(command, core=0, env={**env, **more})
            servers.callback(stop, server)
            running[name] = (server, port, options)
        time.sleep(3)
        for number in range(args.rounds + 1):
            for name, (server, port, options) in running.items():
                statements = (lambda: int(ask(urls["postgres"], count))) if CASES[name][1] else (lambda: 0)
                figures[name].append(measure(server, port, options, number, args.inflight, statements))
                rate, cpu, asked = figures[name][-1]
                print(f"{number} {name}: {rate:,.0f}/s, {cpu:.0f} µs, {asked} statements", flush=True)
    for name, rounds in figures.items():
        rates, cpu, asked = zip(*rounds[1:])
        share = statistics.median(rate / nchan for rate, (nchan, *_) in zip(rates, figures["nchan"][1:]))
        print(f"{name}: {statistics.median(rates):,.0f} connections/s, {share:.2f} of nchan, "
              f"{statistics.median(cpu):.0f} µs of CPU each, at most {max(asked)} statements for {TABS:,}")


main()
