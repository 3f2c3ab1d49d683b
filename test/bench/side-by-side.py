#!/usr/bin/env python3
"""Measures Lightcone beside other servers with a benchmark kit that is not part of this repository.

    BENCH_KIT=folder python3 test/bench/side-by-side.py [--runs 3] [--secs 4] [--series 0,2] [--out FILE]

The kit is a folder with `measure.py`, `servers.py` and the built load generator; this script adds our servers to its
list and leaves its files alone. Ours is `server.ts` of this folder (compiled by `npm run bench -- --only start`), the
worker as `lightcone serve` composes it, and is published to through a RabbitMQ of our own. All servers of a round are
measured one after the other in the same run; the figures are medians of the rounds.

`lightcone`           distinct users with API keys
`lightcone-session`   all tabs of one remembered session
`lightcone-1`, `-2`   the same with one and two workers, free to use both cores
`node-takeover`       the kit's Node.js server without anything but sockets, where nothing can be gathered
"""
import argparse
import json
import os
import runpy
import statistics
import sys

from kit import BUILD, HERE, KIT, SERVER, SESSION, STREAM, broker

# phases, servers
SERIES = [
    ("memory,connect", ["limit", "nchan", "lightcone", "lightcone-session", "lightcone-1", "lightcone-2"]),
    ("fanout", ["limit", "nchan", "lightcone", "lightcone-session", "lightcone-1", "lightcone-2"]),
    ("fanout1", ["limit", "nchan", "node-takeover", "lightcone-session"]),
    ("latency", ["limit", "nchan", "lightcone"]),
    ("slow", ["nchan", "lightcone"]),
]
FIGURES = {
    "kib_per_tab": "mem10000.rss", "connections_per_second": "connect.rate", "ms_per_connection": "connect.cpu_ms_per_conn",
    "deliveries_per_second_10000": "fan10000.rate", "cpu_us_per_delivery_10000": "fan10000.cpu_per_million",
    "deliveries_per_second_1000": "fan1000.rate", "cpu_us_per_delivery_1000": "fan1000.cpu_per_million",
    "cpu_us_per_delivery_one_outstanding": "fan1000w1.cpu_per_million",
    "paced_p50_ms": "paced_broadcast.p50", "paced_p99_ms": "paced_broadcast.p99",
    "targeted_p50_ms": "paced_users.p50", "targeted_p99_ms": "paced_users.p99",
    "slow_growth_mib": "slow.rss_growth_mib", "slow_missing": "slow.missing", "slow_closed": "slow.stalled_closed",
}


def servers(amqp):
    def lightcone(sub, header=None, workers=None):
        env = {"NODE_ENV": "production", "BENCH_AMQP_URL": amqp}
        if workers:
            env["BENCH_WORKERS"] = str(workers)
        return dict(
            start=[*SERVER, "{port}"], env=env,
            sub=sub, sub_user=sub, headers=[header] if header else [], pub="", pub_user="",
            body="* DATA", body_user="{u} DATA", gc=not workers, pinned=not workers, settle=2.0,
            pub_pipe=f"node {BUILD}/publisher.js {amqp}")
    return {
        "lightcone": lightcone(STREAM + "?key=bench-{i}"),
        "lightcone-session": lightcone(STREAM, SESSION),
        "lightcone-1": lightcone(STREAM, SESSION, 1),
        "lightcone-2": lightcone(STREAM, SESSION, 2),
    }


def measure(argv):
    sys.argv = ["measure.py", *argv]
    runpy.run_path(os.path.join(KIT, "measure.py"), run_name="__main__")


def get(value, path):
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def medians(files):
    found = {}
    for file, (phases, _) in zip(files, SERIES):
        if not os.path.exists(file):
            continue
        with open(file) as lines:
            for line in lines:
                run = json.loads(line)
                if run.get("problems"):
                    print("!", run["server"], run["problems"])
                for name, path in FIGURES.items():
                    # While the fan-out connects, our publisher is starting on the load generator's core.
                    if path.startswith("connect.") and "connect" not in phases:
                        continue
                    if get(run, path) is not None:
                        found.setdefault(run["server"], {}).setdefault(name, []).append(get(run, path))
    return {server: {name: round(statistics.median(values), 3) for name, values in figures.items()}
            for server, figures in found.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", default="3")
    parser.add_argument("--secs", default="4")
    parser.add_argument("--series", default=",".join(map(str, range(len(SERIES)))), help="part of: %(default)s")
    parser.add_argument("--out", default=os.path.join(HERE, "results", "side-by-side.json"))
    args = parser.parse_args()
    os.makedirs(os.path.dirname(args.out), exist_ok=True)
    files = [f"{args.out}.{number}l" for number in range(len(SERIES))]
    with broker() as amqp:
        sys.path.insert(0, KIT)
        import servers as theirs
        theirs.SERVERS.update(servers(amqp))
        for number in map(int, args.series.split(",")):
            phases, names = SERIES[number]
            if os.path.exists(files[number]):
                os.remove(files[number])
            measure(["--runs", args.runs, "--secs", args.secs, "--only", phases, "--out", files[number], *names])
    result = medians(files)
    with open(args.out, "w") as out:
        json.dump(result, out, indent=2)
        out.write("\n")
    for server, figures in result.items():
        print(server, figures)


main()
