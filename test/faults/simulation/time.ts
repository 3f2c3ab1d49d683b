/**
 * Simulated time: every timer of the code under test fires in its order, as fast as it can, and the same seed gives the same
 * run. Each timer belongs to the process whose code set it, so that a process can be frozen or killed.
 */
import type { Clock } from '../../../src/lib/clock.js';

/** A simulated process: nothing of it runs while it is frozen, nothing more after its death. */
export class SimProcess {
  alive = true;
  /** Simulated milliseconds; until then its code stands still. */
  frozenUntil = 0;

  constructor(readonly name: string) {}
}

class Timer {
  cancelled = false;

  constructor(
    public at: number,
    public sequence: number,
    readonly process: SimProcess | undefined,
    readonly run: () => void,
    readonly everyMs: number | undefined,
  ) {}

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  setImmediate: globalThis.setImmediate,
  random: Math.random,
};
/** A run that takes more is going round in circles. */
const MAX_STEPS = 100_000;
/** Of the simulated database's clock, microseconds. */
const EPOCH = Date.UTC(2026, 0, 1) * 1000;

export class SimulatedTime implements Clock {
  /** Simulated milliseconds since the start. */
  ms = 0;
  /** Whose code runs now; undefined for the servers and the network, which never freeze. */
  current: SimProcess | undefined;
  private heap: Timer[] = [];
  private sequence = 0;
  private steps = 0;

  constructor(readonly random: () => number) {}

  now(): number {
    return EPOCH + Math.round(this.ms * 1000);
  }

  monotonic(): number {
    return this.ms;
  }

  /** The database clock at a simulated moment. */
  toMicros(ms: number): number {
    return EPOCH + Math.round(ms * 1000);
  }

  between(from: number, to: number): number {
    return from + this.random() * (to - from);
  }

  /** Runs `work` after `ms`, as code of `process`. */
  after(ms: number, process: SimProcess | undefined, work: () => void): Timer {
    return this.push(new Timer(this.ms + Math.max(0, ms), 0, process, work, undefined));
  }

  /** Resolves after `ms`; the continuation is code of whoever called. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, this.current, resolve));
  }

  /** Replaces the global timers and `Math.random` until the returned function is called. */
  install(): () => void {
    const set = (work: (...args: never[]) => void, ms = 0, ...args: never[]): unknown =>
      this.after(ms, this.current, () => work(...args));
    const clear = (timer: Timer | undefined): void => {
      if (timer) timer.cancelled = true;
    };
    Object.assign(globalThis, {
      setTimeout: set,
      clearTimeout: clear,
      setImmediate: (work: (...args: never[]) => void, ...args: never[]) => set(work, 0, ...args),
      setInterval: (work: () => void, ms: number) =>
        this.push(new Timer(this.ms + ms, 0, this.current, work, ms)),
      clearInterval: clear,
    });
    Math.random = this.random;
    return () => {
      const { random, ...timers } = real;
      Object.assign(globalThis, timers);
      Math.random = random;
    };
  }

  /** Everything up to `untilMs`. */
  async run(untilMs: number): Promise<void> {
    for (;;) {
      const timer = this.heap[0];
      if (timer === undefined || timer.at > untilMs) break;
      this.pop();
      if (timer.cancelled || timer.process?.alive === false) continue;
      if (timer.process && timer.process.frozenUntil > timer.at) {
        timer.at = timer.process.frozenUntil;
        this.push(timer);
        continue;
      }
      this.steps += 1;
      if (this.steps > MAX_STEPS) throw new Error(`more than ${MAX_STEPS} steps until ${timer.at} ms`);
      this.ms = timer.at;
      this.current = timer.process;
      timer.run();
      if (timer.everyMs !== undefined) {
        timer.at = this.ms + timer.everyMs;
        this.push(timer);
      }
      // All that follows from it, promise by promise.
      await new Promise<void>((resolve) => real.setImmediate(resolve));
    }
    this.ms = untilMs;
    this.current = undefined;
  }

  private push(timer: Timer): Timer {
    const { heap } = this;
    timer.sequence = this.sequence++;
    let i = heap.length;
    heap.push(timer);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(timer, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = timer;
    return timer;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

const before = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
