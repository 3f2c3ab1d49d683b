/** The simulated database: the log that everything resumes from, with NOTIFY, a clock, and times of absence. */
import { LightconeError } from '../../../src/core/errors.js';
import type { Cursor, HistoryChange, HistoryId, SessionId, UserId } from '../../../src/core/events.js';
import type {
  ChangeLog,
  ChangeScope,
  HintListener,
  HintSource,
  LogEnd,
  LogRead,
  NotificationDelivery,
  NotificationLog,
  PositionStore,
} from '../../../src/database/port.js';
import type { SimProcess, SimulatedTime } from './time.js';

export interface SimHistory {
  id: HistoryId;
  userId: UserId | undefined;
  sessionIds: readonly SessionId[];
}

interface AuditRow {
  historyId: HistoryId;
  time: Cursor;
}

const unavailable = (): LightconeError =>
  new LightconeError('DATABASE_UNAVAILABLE', 'the simulated database is away');

export class SimDatabase implements ChangeLog, PositionStore, NotificationLog {
  readonly keeps = true;
  private readonly rows: AuditRow[] = [];
  private readonly notifications: { id: number; userId: UserId; time: Cursor }[] = [];
  private readonly positions: LogEnd[] = [];
  private readonly listeners = new Set<SimListen>();
  up = true;
  /** How far its clock is from the true one. */
  clockOffMs = 0;

  constructor(
    readonly time: SimulatedTime,
    readonly histories: readonly SimHistory[],
  ) {}

  /** A transaction commits now; its audit time was taken when it began. */
  commit(historyId: HistoryId, openMs: number): void {
    this.rows.push({ historyId, time: this.clock() - 1000 * Math.round(openMs) });
    for (const listener of this.listeners) listener.notify(historyId);
  }

  commitNotification(id: number, userId: UserId): void {
    this.notifications.push({ id, userId, time: this.clock() });
  }

  /** What its clock says. */
  clock(): Cursor {
    return this.time.toMicros(this.time.ms + this.clockOffMs);
  }

  /** Every session ends; statements fail until it is back. */
  goDown(): void {
    this.up = false;
    for (const listener of [...this.listeners]) listener.drop();
  }

  /** One statement: it takes its time to arrive, sees what is committed then, and its answer takes time as well. */
  private ask<T>(look: () => T): Promise<T> {
    const { time } = this;
    const process = time.current;
    return new Promise((resolve, reject) => {
      time.after(this.delay(), undefined, () => {
        const { up } = this;
        const answer = up ? look() : undefined;
        time.after(this.delay(), process, () => (up ? resolve(answer as T) : reject(unavailable())));
      });
    });
  }

  /** Mostly quick, now and then very slow: races need time. */
  private delay(): number {
    return this.time.between(0, this.time.random() < 0.2 ? 2_000 : 20);
  }

  now(): Promise<Cursor> {
    return this.ask(() => this.clock());
  }

  changesSince(floor: Cursor, scope: ChangeScope): Promise<HistoryChange[]> {
    return this.ask(() =>
      this.changes(
        this.rows.filter(({ time }) => time > floor),
        scope,
      ),
    );
  }

  changesOf(historyIds: readonly HistoryId[]): Promise<HistoryChange[]> {
    return this.ask(() => this.changes(this.rows, { kind: 'histories', historyIds }));
  }

  async identify(): Promise<string> {
    return this.ask(() => 'log');
  }

  /** Rows stand in the order in which they became visible: a position is how many there are. */
  end(): Promise<LogEnd> {
    return this.ask(() => this.endAt(this.rows.length));
  }

  since(position: string, scope: ChangeScope, limit = 5_000): Promise<LogRead | undefined> {
    return this.ask(() => {
      const from = Number(position.slice('log.'.length));
      const to = Math.min(this.rows.length, from + limit);
      return {
        ...this.endAt(to),
        complete: to === this.rows.length,
        changes: this.changes(this.rows.slice(from, to), scope),
      };
    });
  }

  private endAt(rows: number): LogEnd {
    return { position: `log.${rows}`, moment: this.clock() };
  }

  private changes(rows: readonly AuditRow[], scope: ChangeScope): HistoryChange[] {
    return this.histories
      .filter((history) => inScope(history, scope))
      .map(({ id, userId, sessionIds }) => ({
        historyId: id,
        userId,
        sessionIds,
        newest: Math.max(0, ...rows.filter(({ historyId }) => historyId === id).map(({ time }) => time)),
      }))
      .filter(({ newest }) => newest > 0);
  }

  historiesOf(owner: ChangeScope): Promise<HistoryId[]> {
    return this.ask(() => this.histories.filter((history) => inScope(history, owner)).map(({ id }) => id));
  }

  async entryPointOwnersSince(): Promise<{ userIds: UserId[]; sessionIds: SessionId[] }> {
    return this.ask(() => ({ userIds: [], sessionIds: [] }));
  }

  entries(): Promise<LogEnd[]> {
    return this.ask(() => [...this.positions]);
  }

  newest(): Promise<LogEnd | undefined> {
    return this.ask(() => this.positions.at(-1));
  }

  async add(entry: LogEnd): Promise<void> {
    await this.ask(() => this.positions.push(entry));
  }

  notificationsSince(floor: Cursor): Promise<NotificationDelivery[]> {
    return this.ask(() =>
      this.notifications
        .filter(({ time }) => time > floor)
        .map(({ id, userId, time }) => ({
          payload: JSON.stringify({ id }),
          publicationTime: time,
          userIds: [userId],
        })),
    );
  }

  async broadcastsSince(): Promise<NotificationDelivery[]> {
    return [];
  }

  statuses(requests: readonly { userId: UserId | undefined; since: Cursor }[]): Promise<string[]> {
    return this.ask(() =>
      requests.map(({ userId, since }) =>
        JSON.stringify({
          notifications: this.notifications
            .filter((it) => it.userId === userId && it.time > since)
            .map(({ id }) => ({ id })),
        }),
      ),
    );
  }

  createHintSource(listener: HintListener): SimListen {
    return new SimListen(this, listener, this.time.current);
  }

  attach(listen: SimListen): void {
    this.listeners.add(listen);
  }

  detach(listen: SimListen): void {
    this.listeners.delete(listen);
  }
}

function inScope({ id, userId, sessionIds }: SimHistory, scope: ChangeScope): boolean {
  switch (scope.kind) {
    case 'all':
      return true;
    case 'user':
      return userId === scope.userId;
    case 'session':
      return userId === undefined && sessionIds.includes(scope.sessionId);
    case 'histories':
      return scope.historyIds.includes(id);
  }
}

/** LISTEN: notifications come in the order of the commits, late, and not at all while the session is away. */
export class SimListen implements HintSource {
  readonly name = 'listen';
  private session = 0;
  private connected = false;
  private connectedBefore = false;
  private stopped = false;
  private lastArrival = 0;
  private onConnected: () => void = () => {};

  constructor(
    private readonly database: SimDatabase,
    private readonly listener: HintListener,
    private readonly process: SimProcess | undefined,
  ) {}

  async start(signal?: AbortSignal): Promise<void> {
    const first = new Promise<void>((resolve, reject) => {
      this.onConnected = resolve;
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    this.connect();
    await first;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.drop();
  }

  /** The session ends: what is on its way is lost. */
  drop(): void {
    this.database.detach(this);
    const wasConnected = this.connected;
    this.connected = false;
    this.session += 1;
    if (!this.stopped && wasConnected) this.connect();
  }

  private connect(): void {
    const { time } = this.database;
    time.after(time.between(10, 500), this.process, () => {
      if (this.stopped) return;
      if (!this.database.up) {
        this.connect();
        return;
      }
      this.connected = true;
      this.database.attach(this);
      this.onConnected();
      if (this.connectedBefore) this.listener.onGap('listen_reconnected');
      this.connectedBefore = true;
    });
  }

  notify(historyId: HistoryId): void {
    this.deliver(() => this.listener.onHistories([historyId]));
  }

  private deliver(work: () => void): void {
    const { time } = this.database;
    const { session } = this;
    this.lastArrival = Math.max(this.lastArrival, time.ms + time.between(0, 100));
    time.after(this.lastArrival - time.ms, this.process, () => {
      if (session === this.session) work();
    });
  }

  barrier(): Promise<Cursor> {
    const { time } = this.database;
    const { session } = this;
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(unavailable());
      if (!this.connected) {
        fail();
        return;
      }
      time.after(2_500, this.process, fail);
      time.after(time.between(0, 20), undefined, () => {
        if (session !== this.session || !this.database.up) return;
        const moment = this.database.clock();
        this.deliver(() => resolve(moment));
      });
    });
  }
}
