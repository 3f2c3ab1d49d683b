/**
 * No change goes untold because its trigger was silent: leaders go quiet and busy, are killed, frozen and cut off at any
 * moment, and transactions stay open for up to a minute meanwhile. The real state machine, on a simulated server, in simulated
 * time; no safety read hides anything. QUIET_SEED repeats a run.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Sql, SqlRow } from '../../src/database/port.js';
import { QuietTriggers, type TriggerLock } from '../../src/database/postgres/quiet-triggers.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { seeded } from '../faults/random.js';
import { Access } from '../faults/simulation/lock-server.js';
import { SimProcess, SimulatedTime } from '../faults/simulation/time.js';

const LONG = process.env.LIGHTCONE_FAULTS === 'long';
const RUNS = Number(process.env.QUIET_RUNS ?? (LONG ? 5_000 : 150));
const SEED = Number(process.env.QUIET_SEED ?? (LONG ? Math.floor(Math.random() * 2 ** 31) : 18));

/** The server ends the leader's transaction after so long a silence. */
const SILENCE_MS = 7_500;
const WAIT_MS = 500;
const ANSWER_MS = 10_000;
const END_MS = 75_000;
/** Room for a transaction of a minute, and a successor. */
const SETTLED_MS = END_MS + 90_000;

interface Writer {
  xid: number;
  loud: boolean;
}

/** PostgreSQL, as far as the protocol goes: numbers, snapshots, one advisory lock that is queued for, NOTIFY at commit. */
class Server {
  nextXid = 100;
  readonly open = new Map<number, Writer>();
  readonly committed = new Map<number, number>();
  readonly told = new Map<number, number>();
  leader: Lock | undefined;
  holder: Lock | undefined;
  waiting: Lock | undefined;
  readonly listeners = new Set<() => void>();

  constructor(readonly time: SimulatedTime) {}

  /** The trigger: the number first, then the lock, which is free for who has it already. */
  write(writer: Writer | undefined): Writer {
    const its = writer ?? { xid: this.nextXid++, loud: false };
    this.open.set(its.xid, its);
    its.loud ||= this.triesShared();
    return its;
  }

  triesShared(): boolean {
    return !this.holder && !this.waiting;
  }

  end(writer: Writer, commits: boolean): void {
    this.open.delete(writer.xid);
    if (commits) this.committed.set(writer.xid, this.time.ms);
    if (commits && writer.loud) for (const notify of this.listeners) notify();
    this.grant();
  }

  grant(): void {
    const { waiting } = this;
    if (!waiting || [...this.open.values()].some(({ loud }) => loud)) return;
    this.holder = waiting;
    this.waiting = undefined;
    waiting.onGranted();
  }

  /** A read of the log: all that is visible. @returns how much of it is new */
  read(): number {
    const fresh = [...this.committed.keys()].filter((xid) => !this.told.has(xid));
    for (const xid of fresh) this.told.set(xid, this.time.ms);
    return fresh.length;
  }

  answer(text: string, params: readonly unknown[]): SqlRow {
    if (text.includes('pg_trigger')) return {};
    if (text.includes('AS loud')) return { loud: this.triesShared() };
    if (text.includes('pg_current_xact_id')) return { xid: String(this.nextXid++) };
    const below = [...this.open.keys()].filter((xid) => xid < Number(params[0]));
    return { open: below.length === 0 ? null : below.join() };
  }
}

/** The leader's lock with that of the triggers, in one transaction of one session. */
class Lock implements TriggerLock {
  private heardAt: number;
  private alive = true;
  private closed = false;
  onGranted: () => void = () => {};

  constructor(
    private readonly server: Server,
    private readonly access: Access,
    private readonly onLost: () => void,
  ) {
    this.heardAt = server.time.ms;
    server.leader = this;
    this.watch();
    void this.speak();
  }

  private watch(): void {
    this.server.time.after(250, undefined, () => {
      if (!this.alive) return;
      const { process } = this.access;
      if (!process.alive || this.server.time.ms - this.heardAt >= SILENCE_MS) this.end();
      else this.watch();
    });
  }

  private end(): void {
    const { server } = this;
    this.alive = false;
    if (server.leader === this) server.leader = undefined;
    if (server.holder === this) server.holder = undefined;
    if (server.waiting === this) server.waiting = undefined;
    if (this.access.way === 'up') server.time.after(this.access.latency(), this.access.process, this.onLost);
  }

  private async speak(): Promise<void> {
    for (;;) {
      await this.server.time.sleep(5_000);
      if (!(await this.run(() => {}))) return;
    }
  }

  /** After one failure the session is closed; the server learns of it when something comes through. */
  private async run(work: () => void): Promise<boolean> {
    if (this.closed) return false;
    const done = this.access.ask(() => {
      if (!this.alive) return false;
      this.heardAt = this.server.time.ms;
      work();
      return true;
    }, 2_000);
    const held = await done.catch(() => false);
    if (!held) {
      this.closed = true;
      this.onLost();
    }
    return held;
  }

  async silenceTriggers(): Promise<boolean> {
    const { server } = this;
    let granted!: (it: boolean) => void;
    const outcome = new Promise<boolean>((resolve) => {
      granted = resolve;
    });
    const held = await this.run(() => {
      this.onGranted = () => granted(true);
      server.waiting = this;
      server.time.after(WAIT_MS, undefined, () => {
        if (server.waiting === this) server.waiting = undefined;
        granted(server.holder === this);
      });
      server.grant();
    });
    return held && (await outcome);
  }

  unsilenceTriggers(): Promise<boolean> {
    return this.run(() => {
      if (this.server.holder === this) this.server.holder = undefined;
    });
  }
}

/** One term of one leader: LISTEN, a first read, then whatever the state machine says. */
class Leader {
  readonly process: SimProcess;
  readonly access: Access;
  readonly over = new AbortController();
  triggers: QuietTriggers | undefined;
  /** Until then nothing comes through. */
  upAt = 0;
  private woken = false;
  private reading = false;

  constructor(
    readonly server: Server,
    name: string,
  ) {
    this.process = new SimProcess(name);
    this.access = new Access(server.time, this.process);
    const { time } = server;
    time.after(0, this.process, () => this.begin());
  }

  private begin(): void {
    const { server } = this;
    const lock = new Lock(server, this.access, () => this.over.abort());
    const hear = () => this.hear();
    server.listeners.add(hear);
    this.over.signal.addEventListener('abort', () => server.listeners.delete(hear));
    this.triggers = new QuietTriggers({
      sql: this.sql(),
      lock,
      look: () => this.look(),
      clock: server.time,
      logger: createLogger('silent'),
    });
    this.look();
    void this.triggers.run(this.over.signal);
  }

  /** What is on its way while nothing comes through comes afterwards, as with TCP. */
  private hear(): void {
    const { access, process, server } = this;
    const { time } = server;
    time.after(Math.max(0, this.upAt - time.ms) + access.latency(), process, () => {
      if (this.over.signal.aborted) return;
      if (access.way !== 'up') {
        this.hear();
        return;
      }
      this.triggers!.heard();
      if (this.triggers!.state !== 'polling') this.look();
    });
  }

  private look(): void {
    this.woken = true;
    if (!this.reading) void this.readOn();
  }

  private async readOn(): Promise<void> {
    this.reading = true;
    while (this.woken && !this.over.signal.aborted) {
      this.woken = false;
      try {
        this.triggers!.read(await this.access.ask(() => this.server.read(), ANSWER_MS));
      } catch {
        this.woken = true;
        await this.server.time.sleep(200);
      }
    }
    this.reading = false;
  }

  private sql(): Sql {
    const ask = (text: string, params: readonly unknown[] = []) =>
      this.access.ask(() => [this.server.answer(text, params)], ANSWER_MS);
    return { dialect: 'postgresql', all: ask, isOneOf: () => '', list: () => '' } as unknown as Sql;
  }
}

const duration = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 60 }) },
  { weight: 3, arbitrary: fc.integer({ min: 60, max: 3_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 3_000, max: 60_000 }) },
);
const scenario = fc.record({
  seed: fc.nat(),
  /** Many transactions for a while, then few: each of these makes the leader go busy, and quiet again. */
  bursts: fc.array(
    fc.record({
      atMs: fc.integer({ min: 0, max: END_MS }),
      forMs: fc.integer({ min: 50, max: 1_500 }),
      everyMs: fc.constantFrom(0.7, 1, 1.5, 2.5, 10),
    }),
    { minLength: 1, maxLength: 6 },
  ),
  longer: fc.array(fc.record({ atMs: fc.integer({ min: 0, max: END_MS }), openMs: duration }), {
    maxLength: 40,
  }),
  faults: fc.array(
    fc.record({
      kind: fc.constantFrom('kill' as const, 'freeze' as const, 'silent' as const),
      atMs: fc.integer({ min: 0, max: END_MS }),
      forMs: fc.integer({ min: 10, max: 20_000 }),
    }),
    { maxLength: 3 },
  ),
});

type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

class World {
  readonly server: Server;
  readonly leaders: Leader[] = [];
  silent = 0;

  constructor(
    readonly time: SimulatedTime,
    readonly given: Scenario,
  ) {
    this.server = new Server(time);
  }

  async run(): Promise<void> {
    const { time, given } = this;
    this.elect();
    for (const { atMs, forMs, everyMs } of given.bursts) {
      for (let ms = atMs; ms < atMs + forMs; ms += everyMs) this.transaction(ms, time.between(0.2, 15));
    }
    for (const { atMs, openMs } of given.longer) this.transaction(atMs, openMs);
    for (const { kind, atMs, forMs } of given.faults) {
      time.after(atMs, undefined, () => {
        const leader = this.leaders.at(-1)!;
        const { process, access } = leader;
        if (kind === 'kill') process.alive = false;
        else if (kind === 'freeze') process.frozenUntil = time.ms + forMs;
        else {
          access.way = 'silent';
          leader.upAt = Math.max(leader.upAt, time.ms + forMs);
          time.after(forMs, undefined, () => {
            if (time.ms >= leader.upAt) access.way = 'up';
          });
        }
      });
    }
    await time.run(SETTLED_MS);
    for (const leader of this.leaders) leader.over.abort();
  }

  /** Others look at the lock once a second. */
  private elect(): void {
    const { time, server } = this;
    if (!server.leader) {
      const leader = new Leader(server, `leader ${this.leaders.length}`);
      this.leaders.push(leader);
    }
    time.after(time.between(300, 1_000), undefined, () => this.elect());
  }

  private transaction(atMs: number, openMs: number): void {
    const { time, server } = this;
    time.after(atMs, undefined, () => {
      const writer = server.write(undefined);
      const again = time.random() < 0.3;
      if (again) time.after(openMs * time.random(), undefined, () => server.write(writer));
      time.after(openMs, undefined, () => {
        if (!writer.loud) this.silent += 1;
        server.end(writer, time.random() > 0.1);
      });
    });
  }
}

/** @returns the longest that a change waited for its read after its commit; infinite where one was never told */
async function longestWait(given: Scenario): Promise<{ ms: number; silent: number }> {
  const time = new SimulatedTime(seeded(given.seed));
  const restore = time.install();
  try {
    const world = new World(time, given);
    await world.run();
    const { committed, told } = world.server;
    const waits = [...committed].map(([xid, at]) => (told.get(xid) ?? Number.POSITIVE_INFINITY) - at);
    return { ms: Math.max(0, ...waits), silent: world.silent };
  } finally {
    restore();
  }
}

it('a change is read soon while one that will NOTIFY keeps the triggers from being silenced', async () => {
  const lone = Array.from({ length: 400 }, (_, i) => ({ atMs: 5_000 + 10 * i, openMs: 5 }));
  for (let forMs = 300; forMs < 800; forMs += 50) {
    const { ms, silent } = await longestWait({
      seed: 1,
      bursts: [{ atMs: 4_000, forMs, everyMs: 1 }],
      longer: [{ atMs: 3_000, openMs: 20_000 }, ...lone],
      faults: [],
    });
    expect(silent).toBeGreaterThan(100);
    expect(ms).toBeLessThan(150);
  }
});

it(
  'each change is told, however its transaction and the leader fare',
  async () => {
    let silent = 0;
    await fc.assert(
      fc.asyncProperty(scenario, async (given) => {
        const found = await longestWait(given);
        silent += found.silent;
        expect(found.ms).toBeLessThan(given.faults.length > 0 ? Number.POSITIVE_INFINITY : 400);
      }),
      { numRuns: RUNS, seed: SEED, endOnFailure: true },
    );
    // Otherwise this would say nothing.
    expect(silent).toBeGreaterThan(10 * RUNS);
  },
  30_000 + 300 * RUNS,
);
