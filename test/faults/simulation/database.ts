/** The simulated database: the log that everything resumes from, with NOTIFY, a clock, and times of absence. */
import { LightconeError } from '../../../src/core/errors.js';
import type { Cursor, HistoryChange, HistoryId, SessionId, UserId } from '../../../src/core/events.js';
import { merge } from '../../../src/database/change-log.js';
import { formatSnapshot, parseSnapshot, type Snapshot, upTo } from '../../../src/database/log/snapshot.js';
import type { ChangeRow } from '../../../src/database/log/visibility.js';
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
import { formatSql, MICROS_PER_SECOND, parseSql } from '../../../src/lib/time.js';
import { SimBroadcasts } from './broadcasts.js';
import type { SimProcess, SimulatedTime } from './time.js';
import { type ContentRow, isHidden, type Transaction, Transactions } from './transactions.js';

export interface SimHistory {
  id: HistoryId;
  userId: UserId | undefined;
  sessionIds: readonly SessionId[];
}

interface AuditRow {
  historyId: HistoryId;
  /** As the column holds it. */
  text: string;
  time: Cursor;
  xid: bigint;
}

/** Mistyped. */
export const FAR_YEAR = '20026-01-01 00:00:00';

/** No clock is further ahead: `believedUntil` of `database/dialect.ts`. */
const DAY = 86_400 * MICROS_PER_SECOND;

const unavailable = (): LightconeError =>
  new LightconeError('DATABASE_UNAVAILABLE', 'the simulated database is away');

export class SimDatabase implements ChangeLog, PositionStore, NotificationLog {
  readonly keeps = true;
  readonly transactions: Transactions;
  readonly broadcasts: SimBroadcasts;
  private rows: AuditRow[] = [];
  private readonly notifications: { id: number; userId: UserId; time: Cursor }[] = [];
  private readonly positions: LogEnd[] = [];
  private readonly listeners = new Set<SimListen>();
  up = true;
  /** Until then everything that it does takes seconds. */
  slowUntil = 0;
  /** How far its clock is from the true one. */
  clockOffMs = 0;

  constructor(
    readonly time: SimulatedTime,
    readonly histories: readonly SimHistory[],
  ) {
    this.transactions = new Transactions(histories.map(({ id }) => id));
    this.broadcasts = new SimBroadcasts(
      () => this.clock(),
      (look) => this.ask(look),
    );
  }

  /** It is not the first time: a leader before has stored where it stood. */
  wasRead(): void {
    this.positions.push({ position: positionOf(this.transactions.snapshot()), moment: this.clock() });
  }

  /** It ends now; its audit time was taken when it began. @returns whether it is committed */
  finish(transaction: Transaction, openMs: number): boolean {
    if (!this.transactions.end(transaction)) return false;
    const { historyId, xid, ending } = transaction;
    this.addRow(historyId, xid, formatSql(this.clock() - 1000 * Math.round(openMs)));
    // NOTIFY and PREPARE exclude each other.
    if (ending !== 'prepared') for (const listener of this.listeners) listener.notify(historyId);
    return true;
  }

  private addRow(historyId: HistoryId, xid: bigint, text: string): void {
    const odd = { infinity: Number.POSITIVE_INFINITY, '-infinity': 0, [FAR_YEAR]: this.clock() + 2 * DAY }[
      text
    ];
    this.rows.push({ historyId, xid, text, time: odd ?? parseSql(text) });
  }

  /** Somebody writes a row by hand, with a time that no clock says. */
  poison(historyId: HistoryId, text: string): void {
    this.addRow(historyId, this.transactions.pass(), text);
    for (const listener of this.listeners) listener.notify(historyId);
  }

  /** The rule of `maintenance/jobs.ts` for one history: what nobody has to read any more. @returns how many rows went */
  prune(historyId: HistoryId, keepSeconds: number): Promise<number> {
    return this.ask(() => {
      const before = this.clock() - keepSeconds * MICROS_PER_SECOND;
      const read = this.positions.findLast(({ moment }) => moment < before);
      const open = new Set(this.positions.flatMap(({ position }) => snapshotOf(position).xip));
      const { rows } = this;
      const isIn = (row: AuditRow): boolean =>
        row.historyId !== historyId ||
        row.time >= before ||
        open.has(row.xid) ||
        (this.positions.length > 0 && (!read || isHidden(row.xid, snapshotOf(read.position)))) ||
        !rows.some((other) => other.historyId === historyId && other.time > row.time) ||
        !rows.some(
          (other) =>
            other.historyId === historyId &&
            (other.xid > row.xid || (other.xid === row.xid && other.time > row.time)),
        );
      this.rows = rows.filter(isIn);
      return rows.length - this.rows.length;
    });
  }

  /** What `contents?since=` asks: rows of writers that are not older than the oldest that the position does not see. */
  contentsSince(historyId: HistoryId, position: string | undefined, isWhole: boolean): Promise<ContentRow[]> {
    return this.ask(() => {
      const rows = [...this.transactions.contents.values()].filter((row) => row.historyId === historyId);
      if (position === undefined) return rows;
      const seen = snapshotOf(position);
      const hidden = this.rows.filter((row) => row.historyId === historyId && isHidden(row.xid, seen));
      const oldest = isWhole ? lowest(hidden.map(({ xid }) => xid)) : seen.xmin;
      return oldest === undefined ? [] : rows.filter(({ xmin }) => xmin >= oldest);
    });
  }

  commitNotification(id: number, userId: UserId): void {
    this.notifications.push({ id, userId, time: this.clock() });
  }

  /** What its clock says. */
  clock(): Cursor {
    return this.time.toMicros(this.time.ms + this.clockOffMs);
  }

  /** Every session ends; statements fail until it is back. */
  goDown(crash: boolean): void {
    this.up = false;
    this.transactions.endAll(crash);
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
    if (this.slowUntil > this.time.ms) return this.time.between(500, 4_000);
    return this.time.between(0, this.time.random() < 0.2 ? 2_000 : 20);
  }

  hintDelay(): number {
    return this.time.between(0, this.slowUntil > this.time.ms ? 5_000 : 100);
  }

  now(): Promise<Cursor> {
    return this.ask(() => this.clock());
  }

  changesSince(floor: Cursor, scope: ChangeScope): Promise<HistoryChange[]> {
    return this.ask(() => {
      const until = this.clock() + DAY;
      const believed = this.rows.filter(({ time }) => time > floor && time <= until);
      return this.changes(believed, scope);
    });
  }

  changesOf(historyIds: readonly HistoryId[]): Promise<HistoryChange[]> {
    return this.ask(() => this.changes(this.rows, { kind: 'histories', historyIds }, this.clock()));
  }

  async identify(): Promise<string> {
    return this.ask(() => 'log');
  }

  end(): Promise<LogEnd> {
    return this.ask(() => ({ position: positionOf(this.transactions.snapshot()), moment: this.clock() }));
  }

  /** As `database/log/xid-log.ts` has it. */
  since(position: string, scope: ChangeScope, limit = 5_000): Promise<LogRead | undefined> {
    return this.ask(() => {
      const seen = snapshotOf(position);
      const now = this.transactions.snapshot();
      const inScope = this.rows.filter(({ historyId }) => this.isIn(historyId, scope));
      const fresh = inScope.filter(({ xid }) => xid >= seen.xmax).sort((a, b) => (a.xid < b.xid ? -1 : 1));
      const last = fresh[limit - 1]?.xid;
      const taken = last === undefined ? fresh : fresh.filter(({ xid }) => xid <= last);
      const ended = inScope.filter(({ xid }) => seen.xip.includes(xid));
      return {
        position: positionOf(last === undefined ? now : upTo(now, last)),
        moment: this.clock(),
        complete: last === undefined,
        changes: this.changes([...taken, ...ended], scope, this.clock()),
      };
    });
  }

  private isIn(historyId: HistoryId, scope: ChangeScope): boolean {
    return inScope(this.histories.find(({ id }) => id === historyId)!, scope);
  }

  /** The rows that a statement answers, one for each session of an anonymous history, as the product reads them. */
  private changes(
    rows: readonly AuditRow[],
    scope: ChangeScope,
    now = Number.POSITIVE_INFINITY,
  ): HistoryChange[] {
    const owned: ChangeRow[] = [];
    for (const { id, userId, sessionIds } of this.histories.filter((history) => inScope(history, scope))) {
      const own = rows.filter(({ historyId }) => historyId === id);
      if (own.length === 0) continue;
      const newest = own.reduce((latest, row) => (row.time > latest.time ? row : latest)).text;
      for (const session_id of sessionIds.length === 0 ? [null] : sessionIds) {
        owned.push({ history_id: id, user_id: userId ?? null, session_id, newest });
      }
    }
    return merge(owned).map((change) => ({ ...change, newest: Math.min(change.newest, now) }));
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
    await this.ask(() => {
      this.transactions.pass();
      return this.positions.push(entry);
    });
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

  broadcastsSince(floor: Cursor): Promise<NotificationDelivery[]> {
    return this.broadcasts.log.broadcastsSince(floor);
  }

  async statuses(requests: readonly { userId: UserId | undefined; since: Cursor }[]): Promise<string[]> {
    const withBroadcasts = await this.broadcasts.statuses(requests.map(({ since }) => since));
    return this.ask(() =>
      requests.map(({ userId, since }, i) =>
        JSON.stringify({
          ...withBroadcasts[i],
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

const positionOf = (snapshot: Snapshot): string => `log.${formatSnapshot(snapshot)}`;
const snapshotOf = (position: string): Snapshot => parseSnapshot(position.slice('log.'.length))!;
const lowest = (xids: readonly bigint[]): bigint | undefined =>
  xids.reduce<bigint | undefined>(
    (least, xid) => (least === undefined || xid < least ? xid : least),
    undefined,
  );

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
    this.lastArrival = Math.max(this.lastArrival, time.ms + this.database.hintDelay());
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
