"""What the scripts beside this one share: our server, and the load generator of a benchmark kit (its folder in BENCH_KIT)."""
import contextlib
import glob
import json
import os
import random
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KIT = os.environ.get("BENCH_KIT") or sys.exit(sys.modules["__main__"].__doc__)
BUILD = os.path.join(HERE, "build", "test", "bench")
"""Compiled by `npm run bench -- --only start`."""
SERVER = ["node", "--expose-gc", os.path.join(BUILD, "server.js")]
STREAM = "/api/events/stream"
SESSION = "Cookie: galaxysession=c6ca0ddb55be603a55fe2f86156564e5ebb7ef842b6c3b8955fe2f86156564e5ebb7ef842b6c3b89"


def start(command, core, **more):
    """Starts a server on one core and waits until it listens. @returns the process and its port"""
    port = free_port()
    server = subprocess.Popen(["taskset", "-c", str(core), *command, str(port)], stdout=subprocess.DEVNULL, **more)
    give_up = time.monotonic() + 20
    while not listens(port):
        if server.poll() is not None or time.monotonic() > give_up:
            stop(server)
            sys.exit(f"{command[0]} does not start")
        time.sleep(0.1)
    return server, port


def open_streams(port, core, count, options, inflight=64):
    """@returns the load generator, which keeps them open until it is stopped, and the seconds that opening took"""
    load = subprocess.Popen(
        ["taskset", "-c", str(core), os.path.join(KIT, "build", "sseload"), "--port", str(port), *options,
         "--conns", str(count), "--src", "4", "--marker", "none", "--wait-go", "--max-secs", "200", "--secs", "0.5",
         "--inflight", str(inflight)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ready = load.stdout.readline().split()
    if ready[:1] != ["READY"]:
        stop(load)
        sys.exit(f"not all of {count} streams could be opened: {ready}")
    return load, float(ready[2])


@contextlib.contextmanager
def services(*flags):
    """A RabbitMQ of our own, and with `--postgres` a PostgreSQL that counts statements. Yields their URLs."""
    process = subprocess.Popen(["node", os.path.join(BUILD, "broker.js"), *flags], stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        stop(process)


@contextlib.contextmanager
def broker():
    """Yields the URL of a RabbitMQ of our own."""
    with services() as urls:
        yield urls["amqp"]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def cpu_seconds(pid):
    """By the clock of the scheduler."""
    threads = glob.glob(f"/proc/{pid}/task/*/schedstat")
    return sum(int(open(it).read().split()[0]) for it in threads) / 1e9


def stop(*processes):
    for process in processes:
        if process is not None:
            process.terminate()
            process.communicate()


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
