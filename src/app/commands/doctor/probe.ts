/**
 * `lightcone doctor --probe`: makes a change and follows it from outside, on every hop of its way to a stream. The
 * change belongs to an anonymous visitor, whose rows are removed afterwards, so no user sees it.
 */
import { once } from 'node:events';
import type { Bus } from '../../../bus/port.js';
import type { Config } from '../../../config/config.js';
import { LightconeError } from '../../../core/errors.js';
import type { HistoryUpdateTask, Task, Tick } from '../../../core/events.js';
import type { HintSource } from '../../../database/port.js';
import { IdCodec } from '../../../http/auth/id-codec.js';
import { type Micros, parseIso } from '../../../lib/time.js';
import { CountingMetrics } from '../../../telemetry/counting-metrics.js';
import { noMetrics } from '../../../telemetry/metrics.js';
import { startSoon } from '../../processes/start-soon.js';
import { createBus, type RuntimeContext, type WatchedDatabase } from '../../wiring/infrastructure.js';
import { openStream } from '../worker-client/stream.js';
import { PATIENCE_MS } from './database.js';
import { type Finding, note, ok, problem } from './finding.js';
import { auditTime, makeVisitor, removeVisitor, touch, type Visitor } from './probe-rows.js';

const ARRIVAL_MS = 5_000;
const SLOW_MS = 1_000;
/** After this time the events of the visitor's own rows are out; a change within the debounce window would wait. */
const SETTLE_MS = 300;

/** When each hop saw the change, in milliseconds since its commit. */
interface Seen {
  notified?: number;
  published?: number;
  arrived?: number;
  /** Any tick of a monitor since the commit. */
  ticked?: Tick;
}

export async function probeFinding(
  config: Config,
  db: WatchedDatabase,
  runtime: RuntimeContext,
  interruptible: () => AbortSignal,
): Promise<Finding> {
  if (config.sse.attachToGalaxy) {
    return note(
      'skipped beside a Galaxy, whose tables it must not write: rename a history in Galaxy, and watch "lightcone tail --user EMAIL"',
    );
  }
  if (!config.sse.enabled) return note('skipped: enable_sse_updates is off');
  // An interrupted probe must not leave the visitor's rows behind.
  const signal = interruptible();
  const visitor = await makeVisitor(db);
  const probe = new Probe(config, db, runtime, visitor);
  try {
    return await Promise.race([probe.run(), interruption(signal)]);
  } catch (error) {
    return problem(`the test change failed: ${(error as Error).message}`);
  } finally {
    await probe.stop();
    await removeVisitor(db, visitor);
  }
}

/** Rejects when `signal` aborts, or if it has aborted. */
async function interruption(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort');
  throw new Error('interrupted');
}

class Probe {
  private readonly seen: Seen = {};
  private readonly over = new AbortController();
  private source: HintSource | undefined;
  private bus: Bus | undefined;
  private busProblem: string | undefined;
  /** The audit time of the followed change; earlier events do not count. */
  private audited: Micros | undefined;
  private committedAt = 0;
  private arrive: () => void = () => {};
  private readonly arrival = new Promise<void>((resolve) => {
    this.arrive = resolve;
  });

  constructor(
    private readonly config: Config,
    private readonly db: WatchedDatabase,
    private readonly runtime: RuntimeContext,
    private readonly visitor: Visitor,
  ) {}

  async run(): Promise<Finding> {
    await this.listen();
    await this.subscribe();
    await this.openStream();
    await sleep(SETTLE_MS + this.config.sse.debounceMs);
    const before = await auditTime(this.db, this.visitor);
    const begun = performance.now();
    // An event may arrive before the answer to the commit, but never before the commit.
    this.committedAt = begun;
    await touch(this.db, this.visitor);
    const committed = performance.now() - begun;
    this.audited = await auditTime(this.db, this.visitor);
    if (this.audited === before) {
      return problem(
        'a change was committed but not recorded in history_audit, so no tab can receive it: see the line "triggers"',
      );
    }
    await Promise.race([this.arrival, sleep(ARRIVAL_MS)]);
    if (this.seen.arrived === undefined) return await this.whereItStopped();
    const way = this.way(committed);
    return this.seen.arrived > SLOW_MS ? note(`${way}; that is slow: look at the longest hop`) : ok(way);
  }

  async stop(): Promise<void> {
    this.over.abort();
    await this.source?.stop();
    await this.bus?.stop();
  }

  private now = (): number => Math.max(0, performance.now() - this.committedAt);

  /** PostgreSQL: what the monitor receives. */
  private async listen(): Promise<void> {
    if (this.db.dialect !== 'postgresql') return;
    this.source = this.db.createHintSource({
      onHistories: (ids) => {
        if (this.committedAt > 0 && ids.includes(this.visitor.historyId)) this.seen.notified ??= this.now();
      },
      onGap() {},
    });
    await this.source.start(AbortSignal.timeout(PATIENCE_MS)).catch(() => {});
  }

  /** RabbitMQ: what every worker receives. */
  private async subscribe(): Promise<void> {
    if (this.config.bus.kind === 'in-process') return;
    const name = `${this.config.serverName}.probe.${process.pid}`;
    this.bus = await createBus(this.config, name, new CountingMetrics(noMetrics), this.runtime);
    this.bus.subscribe({
      onTask: (task) => {
        if (this.isOurs(task)) this.seen.published ??= this.now();
      },
      onTick: (tick) => {
        if (this.committedAt > 0) this.seen.ticked = tick;
      },
      onGap() {},
    });
    await startSoon(this.bus, 'BUS_UNAVAILABLE', PATIENCE_MS).catch((error: Error) => {
      this.busProblem = error.message;
    });
  }

  private isOurs(task: Task): boolean {
    if (task.task !== 'history_update' || this.committedAt === 0) return false;
    const { sessionUpdates } = task as HistoryUpdateTask;
    return sessionUpdates.get(this.visitor.sessionId)?.includes(this.visitor.historyId) ?? false;
  }

  private async openStream(): Promise<void> {
    const idCodec = new IdCodec(this.config.auth.idSecret);
    const encodedId = idCodec.encodeId(this.visitor.historyId);
    const cookie = `galaxysession=${idCodec.encodeSessionKey(this.visitor.sessionKey)}`;
    const blocks = await openStream(this.config.http, { credential: { cookie }, signal: this.over.signal });
    const first = await blocks.next();
    if (first.done || first.value.event !== 'ready') {
      throw new LightconeError(
        'NOT_NOW',
        `the stream ended at once: ${first.value?.comment ?? 'without a reason'}`,
      );
    }
    void (async () => {
      for await (const { event, data } of blocks) {
        if (event !== 'history_update' || this.committedAt === 0) continue;
        const { history_ids, update_time } = JSON.parse(data) as {
          history_ids: string[];
          update_time?: string;
        };
        const updateTime = update_time === undefined ? undefined : parseIso(update_time);
        if (!history_ids.includes(encodedId) || (updateTime ?? 0) < (this.audited ?? 0)) continue;
        this.seen.arrived ??= this.now();
        this.arrive();
      }
    })().catch(() => {});
  }

  /** The time of each hop; that of an unseen hop counts for the next. */
  private way(committed: number): string {
    const { notified, published, arrived } = this.seen;
    const fromMonitor = this.bus === undefined ? 'monitor and worker' : 'monitor, broker and worker';
    const lastHop = published === undefined ? fromMonitor : 'worker';
    const moments = [
      ['commit', committed],
      ['NOTIFY', notified],
      ['monitor and broker', published],
      [lastHop, arrived],
    ] as const;
    let reached = 0;
    const hops = moments.flatMap(([hop, at]) => {
      if (at === undefined) return [];
      const took = Math.max(0, at - reached);
      reached += took;
      return `${hop} ${took.toFixed(1)} ms`;
    });
    const unseen = this.busProblem ? `; the hop through the broker was not observed: ${this.busProblem}` : '';
    return `a change went all the way in ${reached.toFixed(1)} ms: ${hops.join(', ')}${unseen}`;
  }

  private async whereItStopped(): Promise<Finding> {
    const within = `within ${ARRIVAL_MS / 1_000} s`;
    const { published, ticked, notified } = this.seen;
    const lock = await this.db.createLeaderLock('monitor', '').holder();
    const leader = lock.held ? `the monitor (process ${lock.label ?? 'unknown'})` : undefined;
    if (this.busProblem !== undefined) {
      return problem(
        `a change was committed but did not arrive ${within}: it stopped at the broker (${this.busProblem}); it is delivered when the broker is back`,
      );
    }
    if (leader === undefined) {
      return problem(
        `a change was committed but not published ${within}: it stopped before the monitor, because no process is the monitor; start "lightcone serve" or sse-monitor, or search their logs for "election"`,
      );
    }
    if (published !== undefined) {
      return problem(
        `a change was published after ${published.toFixed(0)} ms but did not arrive on a stream ${within}: it stopped in the worker; see its /wellz and its log`,
      );
    }
    if (this.bus === undefined) {
      return problem(
        `a change was committed but did not arrive ${within}: it stopped in the one process that is monitor and worker; see its /wellz and its log`,
      );
    }
    const heard = notified === undefined ? 'was not announced by the database' : 'was announced';
    return problem(
      ticked !== undefined
        ? `a change was committed, ${heard}, but was not published ${within}, although ${leader} publishes on the broker: it cannot read the changes; see its log`
        : `a change was committed, ${heard}, but was not published ${within}: it stopped at ${leader}, which publishes nothing on the broker: it is frozen, or cannot reach database or broker; if it is dead, another process takes over within 10 s, so try again`,
    );
  }
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
