/** A whole simulated installation, the faults that happen to it, and the question whether a tab missed something. */
import { ConnectionManager } from '../../../src/connections/manager.js';
import type { HistoryId, Principal } from '../../../src/core/events.js';
import { CompositeRole } from '../../../src/election/composite-role.js';
import { MARGIN } from '../../../src/events/kind.js';
import { EVENTS } from '../../../src/events/registry.js';
import { MICROS_PER_SECOND } from '../../../src/lib/time.js';
import { MaintenanceScheduler } from '../../../src/maintenance/scheduler.js';
import { HistoryAuditMonitor } from '../../../src/monitor/history-audit-monitor.js';
import { createLogger } from '../../../src/telemetry/logger.js';
import { noMetrics } from '../../../src/telemetry/metrics.js';
import type { BroadcastForm } from './broadcasts.js';
import { SimBroker, SimBus } from './bus.js';
import { SimDatabase, type SimHistory } from './database.js';
import { SimScreen } from './screen.js';
import { type HostileId, SimTab, type SimTabOptions } from './tab.js';
import { SimProcess, type SimulatedTime } from './time.js';
import type { Ending, Transaction } from './transactions.js';

const logger = createLogger('silent');

export type FaultKind =
  | 'kill leader'
  | 'freeze leader'
  | 'hand over'
  | 'drop LISTEN'
  | 'database away'
  | 'cut leader from bus'
  | 'cut worker from bus'
  | 'broker away'
  | 'topology lost'
  | 'binding lost'
  | 'queue deleted'
  | 'exchange deleted'
  | 'broker slow'
  | 'queues limited by a policy'
  | 'database slow'
  | 'database clock back'
  | 'freeze worker'
  | 'worker lags'
  | 'kill worker'
  | 'drain worker'
  | 'tab leaves'
  | 'tab flutters'
  | 'tab comes with a hostile id'
  | 'a user opens and closes streams of 1970'
  | 'tab stops reading';

export interface Fault {
  kind: FaultKind;
  atMs: number;
  /** Which of several. */
  index: number;
  durationMs: number;
  /** Until the other side notices. */
  silentMs: number;
}

export interface Change {
  atMs: number;
  index: number;
  /** How long its transaction was open. */
  openMs: number;
  ending: Ending;
  /** When the same history is changed again, from the first change on. */
  againMs: readonly number[];
}

export interface Scenario {
  seed: number;
  workers: number;
  /** Longest time on each way to and from the broker. */
  busDelayMs: number;
  recentWindowSeconds: number;
  queueSize: number;
  /** Only Galaxy's own monitor runs: no tick is ever heard. */
  attached: boolean;
  changes: readonly Change[];
  notifications: readonly { atMs: number; index: number; publishedAfterMs: number }[];
  broadcasts: readonly { atMs: number; publishedAfterMs: number; form: BroadcastForm }[];
  /** Audit rows that somebody writes by hand. */
  poison: readonly { atMs: number; index: number; time: string }[];
  faults: readonly Fault[];
}

const HISTORIES: readonly SimHistory[] = [
  { id: 1, userId: 1, sessionIds: [] },
  { id: 2, userId: 1, sessionIds: [] },
  { id: 3, userId: 2, sessionIds: [] },
  { id: 4, userId: undefined, sessionIds: [7] },
];
/** Nobody changes it but who poisons the log: what is told of it hides nothing. */
const ALL_HISTORIES: readonly SimHistory[] = [...HISTORIES, { id: 5, userId: 1, sessionIds: [] }];
const HOSTILE_IDS: readonly HostileId[] = ['of 1970', 'of the future', 'garbage'];
const NOISY_TABS = 5;
/** Between two turns of the leader's chore, which lasts as long as the database makes it. */
const CHORE_SECONDS = 4;
/** Who loses the role and runs has given it up by then: a publish under way has 5 s, a statement of a slow database as well. */
const GIVEN_UP_MS = 10_500;
const user = (userId: number): Principal => ({
  userId,
  sessionId: undefined,
  isAdmin: false,
  credential: { kind: 'none' },
});
const TABS: readonly { principal: Principal; viewed: readonly HistoryId[]; sees: readonly HistoryId[] }[] = [
  { principal: user(1), viewed: [], sees: [1, 2] },
  { principal: user(1), viewed: [3], sees: [1, 2, 3] },
  { principal: user(2), viewed: [], sees: [3] },
  {
    principal: { userId: undefined, sessionId: 7, isAdmin: false, credential: { kind: 'none' } },
    viewed: [],
    sees: [4],
  },
];
const CANDIDATES = 2;
/** Changes and faults happen until here; */
const BUSY_UNTIL_MS = 45_000;
/** then everything must come right by itself. */
const SETTLED_MS = 100_000;

export class SimWorker {
  readonly process: SimProcess;
  readonly bus: SimBus;
  readonly manager: ConnectionManager;
  private deaths: (() => void)[] = [];

  constructor(world: World, name: string) {
    const { time, scenario, database } = world;
    this.process = new SimProcess(name);
    this.bus = new SimBus(world.broker, this.process);
    this.manager = new ConnectionManager({
      kinds: EVENTS,
      config: {
        enabled: true,
        attachToGalaxy: scenario.attached,
        workers: 1,
        keepaliveSeconds: 7,
        queueSize: scenario.queueSize,
        debounceMs: 200,
        heartbeatSeconds: 5,
        pollIntervalSeconds: 2,
        nodeInternals: false,
        recentWindowSeconds: scenario.recentWindowSeconds,
        rowClockSeconds: 10,
        maxConnections: 100,
        maxConnectionsPerUser: 100,
        maxConnectionsPerAddress: 0,
        drainTimeoutSeconds: 10,
        writeTimeoutSeconds: 20,
        permissionCheckSeconds: 30,
      },
      changeLog: database,
      positions: database,
      notifications: database,
      returning: { changeLog: database, notifications: database },
      permissions: {
        revoked: async () => new Set(),
        accessible: async (questions) => questions.map(({ historyIds }) => new Set(historyIds)),
      },
      subscribed: () => this.bus.subscribed,
      encodeId: (id) => `h${id}`,
      decodeId: (text) => Number(text.slice(1)),
      clock: time,
      random: time.random,
      logger,
      metrics: noMetrics,
    });
    this.bus.subscribe(this.manager);
  }

  /** In the order of `app/processes/worker.ts`: first the bus, then what it may have missed. */
  async start(): Promise<void> {
    await this.bus.start();
    await this.manager.start();
  }

  onDeath(listener: () => void): void {
    this.deaths.push(listener);
  }

  kill(): void {
    this.process.alive = false;
    void this.bus.stop();
    for (const died of this.deaths) died();
  }

  async drain(): Promise<void> {
    await this.manager.drain(5_000);
    await this.manager.stop();
    await this.bus.stop();
  }
}

class Candidate {
  readonly process: SimProcess;
  readonly bus: SimBus;
  private readonly monitor: HistoryAuditMonitor;
  readonly role: CompositeRole;
  /** Its role was taken, and it has not given it up yet. */
  deposed = false;

  constructor({ time, broker, database, scenario }: World, name: string) {
    this.process = new SimProcess(name);
    this.bus = new SimBus(broker, this.process);
    this.monitor = new HistoryAuditMonitor({
      changeLog: database,
      positions: database,
      bus: this.bus,
      createHintSource: (listener) => database.createHintSource(listener),
      leaderName: name,
      debounceMs: 200,
      clock: time,
      logger,
      metrics: noMetrics,
    });
    const keepSeconds = scenario.recentWindowSeconds + MARGIN / MICROS_PER_SECOND;
    const prune = async (over: AbortSignal): Promise<number> => {
      for (const { id } of ALL_HISTORIES) {
        if (over.aborted) break;
        await database.prune(id, keepSeconds);
        // Now and then a piece takes long.
        if (time.random() < 0.1) await time.sleep(time.between(0, 15_000));
      }
      return 0;
    };
    const chores = [{ name: 'audit', everySeconds: CHORE_SECONDS, run: prune }];
    this.role = new CompositeRole([this.monitor, new MaintenanceScheduler(chores, logger)]);
  }
}

export class World {
  readonly database: SimDatabase;
  readonly broker: SimBroker;
  private readonly workers: SimWorker[] = [];
  private readonly candidates: Candidate[] = [];
  private readonly tabs: SimTab[] = [];
  private readonly committed: { historyId: HistoryId; atMs: number }[] = [];
  private readonly notified: { id: number; userId: number; atMs: number }[] = [];
  private readonly broadcast: { id: number; atMs: number }[] = [];
  private readonly held: string[] = [];
  private readonly outside = new SimProcess('another program');
  private readonly producer: SimBus;
  private leader: Candidate | undefined;
  private started = 0;

  constructor(
    readonly time: SimulatedTime,
    readonly scenario: Scenario,
  ) {
    this.database = new SimDatabase(time, ALL_HISTORIES);
    this.broker = new SimBroker(time, scenario.busDelayMs);
    this.producer = new SimBus(this.broker, this.outside);
  }

  /** @returns what was lost, as text */
  async run(): Promise<string[]> {
    const { time, scenario } = this;
    this.as(this.outside, () => this.producer.start());
    for (let i = 0; i < scenario.workers; i += 1) this.startWorker(i);
    if (!scenario.attached) {
      this.database.wasRead();
      for (let i = 0; i < CANDIDATES; i += 1) this.startCandidate(i);
      this.elect(0);
    }
    await time.run(3_000);
    TABS.forEach(({ principal, viewed, sees }, i) => {
      const screens = scenario.attached
        ? []
        : sees.map((id) => new SimScreen(time, this.database, id, i % 2 === 0, () => this.anyWorker()));
      const tab = this.tab({ name: `tab ${i}`, principal, viewed, screens });
      this.tabs.push(tab);
      tab.connect();
    });
    // The oldest first: those that began before the simulation did are numbered in their order.
    const changes = scenario.changes
      .flatMap((change) => [
        change,
        ...change.againMs.map((ms) => ({ ...change, atMs: change.atMs + ms, openMs: 0 })),
      ])
      .sort((a, b) => a.atMs - a.openMs - (b.atMs - b.openMs));
    for (const change of changes) {
      const atMs = 5_000 + change.atMs;
      time.after(Math.max(0, atMs - change.openMs - time.ms), undefined, () => {
        const { id } = HISTORIES[change.index % HISTORIES.length]!;
        const transaction = this.database.up && this.database.transactions.begin(id, change.ending);
        if (transaction) {
          time.after(atMs - time.ms, undefined, () => this.end(transaction, change.openMs));
        }
      });
    }
    scenario.notifications.forEach((notification, id) => {
      time.after(2_000 + notification.atMs, undefined, () => this.notify(id, notification));
    });
    scenario.broadcasts.forEach((broadcast, id) => {
      time.after(2_000 + broadcast.atMs, undefined, () => this.announce(id, broadcast));
    });
    for (const { atMs, index, time: text } of scenario.poison) {
      const { id } = ALL_HISTORIES[index % ALL_HISTORIES.length]!;
      time.after(2_000 + atMs, undefined, () => this.database.up && this.database.poison(id, text));
    }
    for (const fault of scenario.faults) time.after(fault.atMs, undefined, () => this.inject(fault));
    await time.run(BUSY_UNTIL_MS + SETTLED_MS);
    return [...this.missing(), ...this.wrongScreens(), ...this.held];
  }

  private tab(given: Omit<SimTabOptions, 'recentWindowSeconds'>): SimTab {
    const { recentWindowSeconds } = this.scenario;
    const options = { ...given, recentWindowSeconds };
    return new SimTab(
      this.time,
      options,
      () => this.anyWorker(),
      () => this.database.clock(),
    );
  }

  private wrongScreens(): string[] {
    const contents = [...this.database.transactions.contents.values()];
    return this.tabs.flatMap(({ options: { name, screens } }) =>
      screens.flatMap(({ historyId, rows }) => {
        const right = contents.filter((row) => row.historyId === historyId);
        const wrong = right.filter((row) => rows.get(row.id) !== row.name);
        if (wrong.length === 0 && rows.size === right.length) return [];
        return [`${name}: history ${historyId} shows ${JSON.stringify([...rows])}, not ${stringify(wrong)}`];
      }),
    );
  }

  private missing(): string[] {
    const missing: string[] = [];
    // A tab whose first stream began later has loaded its page after the change.
    TABS.forEach(({ principal, sees }, i) => {
      const tab = this.tabs[i]!;
      for (const { historyId, atMs } of this.committed) {
        if (!sees.includes(historyId) || tab.firstReadyAt > atMs) continue;
        if (!tab.told.get(historyId)?.some((told) => told >= atMs)) {
          missing.push(`tab ${i}: history ${historyId}, committed at ${Math.round(atMs)} ms`);
        }
      }
      for (const { id, userId, atMs } of this.notified) {
        if (tab.firstReadyAt > atMs) continue;
        if (userId === principal.userId && !tab.notifications.has(id)) {
          missing.push(`tab ${i}: notification ${id}`);
        }
      }
      missing.push(...tab.early.map((time) => `tab ${i} was told of a change at ${time}`));
      for (const { id, atMs } of this.broadcast) {
        if (tab.firstReadyAt <= atMs && !tab.broadcasts.has(id)) missing.push(`tab ${i}: broadcast ${id}`);
      }
    });
    return missing;
  }

  private as(process: SimProcess, work: () => unknown): void {
    this.time.after(0, process, () => void work());
  }

  // --- processes ---------------------------------------------------------------------------------------------------

  private startWorker(index: number): void {
    const worker = new SimWorker(this, `worker ${++this.started}`);
    this.workers[index] = worker;
    this.as(worker.process, () => worker.start());
  }

  private anyWorker(): SimWorker | undefined {
    const usable = this.workers.filter(({ process }) => process.alive);
    return usable[Math.floor(this.time.random() * usable.length)];
  }

  private startCandidate(index: number): Candidate {
    const candidate = new Candidate(this, `monitor ${++this.started}`);
    this.candidates[index] = candidate;
    this.as(candidate.process, () => candidate.bus.start());
    return candidate;
  }

  /** The lock is free: somebody who is well takes it, a moment later. */
  private elect(afterMs: number): void {
    const { time } = this;
    time.after(afterMs, undefined, () => {
      if (this.leader) return;
      const able = this.candidates.filter(
        ({ process, deposed }) =>
          process.alive && !deposed && process.frozenUntil <= time.ms && this.database.up,
      );
      const chosen = able[Math.floor(time.random() * able.length)];
      if (!chosen) {
        this.elect(500);
        return;
      }
      this.leader = chosen;
      this.as(chosen.process, () => chosen.role.gain().catch(() => {}));
    });
  }

  /** Its lock is gone; it hears of that when it can. */
  private depose(leader: Candidate, afterMs: number): void {
    if (this.leader === leader) this.leader = undefined;
    leader.deposed = true;
    const { time } = this;
    time.after(afterMs, leader.process, async () => {
      const begun = time.ms;
      await leader.role.lose('the lock is gone');
      leader.deposed = false;
      // A process that stood still meanwhile could not.
      const took = time.ms - Math.max(begun, leader.process.frozenUntil);
      if (took > GIVEN_UP_MS) this.held.push(`the role was given up ${Math.round(took)} ms after its loss`);
    });
  }

  // --- what happens ------------------------------------------------------------------------------------------------

  private end(transaction: Transaction, openMs: number): void {
    if (!this.database.up) {
      // Only what is prepared outlives that.
      this.time.after(500, undefined, () => this.end(transaction, openMs));
      return;
    }
    if (!this.database.finish(transaction, openMs)) return;
    const { historyId } = transaction;
    this.committed.push({ historyId, atMs: this.time.ms });
    if (this.scenario.attached) this.publishAsGalaxy(historyId);
  }

  private publishAsGalaxy(historyId: HistoryId): void {
    const { userId, sessionIds } = HISTORIES.find(({ id }) => id === historyId)!;
    this.publish(this.time.between(0, 500), {
      task: 'history_update',
      userUpdates: new Map(userId === undefined ? [] : [[userId, [historyId]]]),
      sessionUpdates: new Map(sessionIds.map((sessionId) => [sessionId, [historyId]])),
    });
  }

  private notify(id: number, { index, publishedAfterMs }: Scenario['notifications'][number]): void {
    if (!this.database.up) return;
    const userId = 1 + (index % 2);
    this.database.commitNotification(id, userId);
    this.notified.push({ id, userId, atMs: this.time.ms });
    this.publish(publishedAfterMs, {
      task: 'notify_users',
      userIds: [userId],
      payload: JSON.stringify({ id }),
    });
  }

  private announce(id: number, { publishedAfterMs, form }: Scenario['broadcasts'][number]): void {
    if (!this.database.up) return;
    this.database.broadcasts.commit(id, form);
    if (form === 'unreadable') return;
    this.broadcast.push({ id, atMs: this.time.ms });
    this.publish(publishedAfterMs, { task: 'notify_broadcast', payload: JSON.stringify({ id: String(id) }) });
  }

  /** Another program's task; it tries until the broker has it. */
  private publish(afterMs: number, task: Parameters<SimBus['publish']>[0]): void {
    this.time.after(afterMs, this.outside, () => {
      this.producer.publish(task).catch(() => this.publish(200, task));
    });
  }

  /** Its other tabs, which have missed more and less, come back in the middle of it. */
  private makeNoise(principal: Principal, durationMs: number, silentMs: number): void {
    const { time } = this;
    const own = this.tabs.filter(({ options }) => options.principal.userId === principal.userId);
    for (const [i, tab] of own.entries()) {
      const away = durationMs / (i + 1);
      time.after(durationMs - away, undefined, () => tab.leave(away, silentMs));
    }
    for (let i = 0; i < NOISY_TABS; i += 1) {
      const tab = this.tab({ name: 'noise', principal, viewed: [], screens: [] });
      tab.lastEventId = '1970-01-01T00:00:00.000000';
      time.after(durationMs - time.between(0, 200), undefined, () => tab.connect());
      time.after(durationMs + 100, undefined, () => tab.flutter(8, silentMs));
    }
  }

  private inject({ kind, index, durationMs, silentMs }: Fault): void {
    const { time, leader } = this;
    const worker = this.workers[index % this.workers.length]!;
    const tab = this.tabs[index % this.tabs.length];
    switch (kind) {
      case 'kill leader': {
        if (!leader) return;
        this.leader = undefined;
        leader.process.alive = false;
        void leader.bus.stop();
        const place = this.candidates.indexOf(leader);
        this.elect(time.between(100, 3_000));
        time.after(durationMs, undefined, () => this.startCandidate(place));
        return;
      }
      case 'freeze leader':
        if (!leader) return;
        leader.process.frozenUntil = time.ms + durationMs;
        if (durationMs > 3_000) {
          this.depose(leader, durationMs + time.between(0, 1_500));
          this.elect(time.between(500, 2_000));
        }
        return;
      case 'hand over':
        if (!leader) return;
        this.depose(leader, 0);
        this.elect(time.between(50, 1_500));
        return;
      case 'drop LISTEN':
      case 'database away':
        // Its locks go with the sessions.
        if (leader) this.depose(leader, time.between(0, silentMs));
        this.database.goDown(kind === 'database away' && index % 2 === 0);
        time.after(kind === 'database away' ? durationMs : 100, undefined, () => {
          this.database.up = true;
          if (leader) this.elect(time.between(50, 1_500));
        });
        return;
      case 'cut leader from bus':
        leader?.bus.cut(silentMs, durationMs);
        return;
      case 'cut worker from bus':
        if (worker.process.alive) worker.bus.cut(silentMs, durationMs);
        return;
      case 'broker away':
        this.broker.up = false;
        for (const { bus } of [...this.workers, ...this.candidates]) bus.cut(0, durationMs);
        this.producer.cut(0, durationMs);
        time.after(durationMs, undefined, () => {
          this.broker.up = true;
        });
        return;
      case 'topology lost':
        // Exchange, bindings and queues: what is published is confirmed and reaches nobody, until each has asked in vain.
        for (const { process, bus } of this.workers) {
          if (process.alive) bus.cut(time.between(1_500, 3_500), 0);
        }
        return;
      case 'binding lost':
        if (worker.process.alive) worker.bus.cut(time.between(1_500, 3_500), 0);
        return;
      case 'queue deleted':
        // The broker tells its consumer.
        if (worker.process.alive) worker.bus.cut(0, 0);
        return;
      case 'exchange deleted': {
        // Its bindings go with it. The first worker that asks in vain declares it anew.
        const back = this.workers.filter(({ process }) => process.alive);
        const after = back.map(() => time.between(1_500, 3_500));
        this.broker.noExchangeUntil = time.ms + Math.min(3_500, ...after);
        for (const [i, { bus }] of back.entries()) bus.cut(after[i]!, 0);
        return;
      }
      case 'broker slow':
        this.broker.slowUntil = time.ms + durationMs;
        return;
      case 'queues limited by a policy':
        this.broker.dropsUntil = time.ms + durationMs;
        return;
      case 'database slow':
        this.database.slowUntil = time.ms + durationMs;
        return;
      case 'database clock back':
        this.database.clockOffMs -= 3 * durationMs;
        return;
      case 'freeze worker':
        worker.process.frozenUntil = time.ms + durationMs;
        return;
      case 'worker lags':
        worker.bus.lag(durationMs);
        return;
      case 'kill worker':
      case 'drain worker':
        if (!worker.process.alive) return;
        if (kind === 'kill worker') worker.kill();
        else this.as(worker.process, () => worker.drain().then(() => worker.kill()));
        time.after(durationMs, undefined, () => this.startWorker(this.workers.indexOf(worker)));
        return;
      case 'tab leaves':
        tab?.leave(durationMs, silentMs);
        return;
      case 'tab comes with a hostile id':
        if (tab) tab.hostile = HOSTILE_IDS[index % HOSTILE_IDS.length];
        tab?.leave(durationMs, silentMs);
        return;
      case 'a user opens and closes streams of 1970':
        this.makeNoise(tab!.options.principal, durationMs, silentMs);
        return;
      case 'tab flutters':
        tab?.flutter(5, silentMs);
        return;
      case 'tab stops reading':
        if (tab) tab.readsFrom = time.ms + durationMs;
        return;
    }
  }
}

const stringify = (value: unknown): string =>
  JSON.stringify(value, (_, it) => (typeof it === 'bigint' ? String(it) : it));
