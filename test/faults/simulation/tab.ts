/** A simulated tab: it reconnects as EventSource does, to any worker, with the last id it saw. */
import { Writable } from 'node:stream';
import type { Cursor, HistoryId, Principal } from '../../../src/core/events.js';
import { formatIso, MICROS_PER_SECOND, parseIso } from '../../../src/lib/time.js';
import { SseParser } from '../../support/sse-parser.js';
import type { SimScreen } from './screen.js';
import type { SimProcess, SimulatedTime } from './time.js';
import type { SimWorker } from './world.js';

/** The worker's end of a connection: bytes arrive late, in order, or not at all once it is cut. */
class SimSocket extends Writable {
  private lastArrival = 0;
  private cutOff = false;
  private readonly onItsWay: Buffer[] = [];

  constructor(
    private readonly time: SimulatedTime,
    private readonly process: SimProcess,
    private readonly tab: SimTab,
    private readonly onBytes: (bytes: Buffer) => void,
  ) {
    super({ highWaterMark: 256, emitClose: true });
  }

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    const { time } = this;
    this.lastArrival = Math.max(this.lastArrival, this.tab.readsFrom, time.ms) + time.between(0, 40);
    this.onItsWay.push(bytes);
    time.after(this.lastArrival - time.ms, undefined, () => {
      this.onItsWay.shift();
      if (!this.cutOff) this.onBytes(bytes);
      time.after(0, this.process, done);
    });
  }

  /** Nothing more reaches the tab but some of the bytes that were on their way. */
  cut(): void {
    if (this.cutOff) return;
    this.cutOff = true;
    const [next] = this.onItsWay;
    if (next) this.onBytes(next.subarray(0, Math.floor(this.time.between(0, next.length + 1))));
  }
}

/** An id that no server gave to this tab. */
export type HostileId = 'of 1970' | 'of the future' | 'garbage';

/** Ids trail the clock, and the request takes its time. */
const WINDOW_MARGIN_SECONDS = 12;
const HOUR: Cursor = 3600 * MICROS_PER_SECOND;

export interface SimTabOptions {
  name: string;
  principal: Principal;
  /** Foreign histories that it watches by its stream's URL. */
  viewed: readonly HistoryId[];
  recentWindowSeconds: number;
  /** Of the histories that it shows. */
  screens: readonly SimScreen[];
}

export class SimTab {
  /** When it was told of each history, simulated milliseconds. */
  readonly told = new Map<HistoryId, number[]>();
  readonly notifications = new Set<number>();
  readonly broadcasts = new Set<number>();
  /** Audit times of which it was told before they had come. */
  readonly early: string[] = [];
  /** With which it comes back, once. */
  hostile: HostileId | undefined;
  /** When its first stream began: it cannot resume from before. */
  firstReadyAt = Number.POSITIVE_INFINITY;
  lastEventId: string | undefined;
  /** It reads nothing before this moment. */
  readsFrom = 0;
  private connection = 0;
  private retryMs = 3_000;
  private breakCurrent: (() => void) | undefined;

  constructor(
    private readonly time: SimulatedTime,
    readonly options: SimTabOptions,
    private readonly anyWorker: () => SimWorker | undefined,
    /** The database's clock. */
    private readonly now: () => Cursor,
  ) {}

  /** Comes back, and breaks again, soon after each return: a bad network. */
  flutter(times: number, silentMs: number): void {
    this.leave(this.time.between(0, 300), silentMs);
    if (times > 0) {
      this.time.after(this.time.between(0, 700), undefined, () => this.flutter(times - 1, silentMs));
    }
  }

  /** Breaks the connection, comes back after `ms`; the worker hears of it only after `silentMs`. */
  leave(ms: number, silentMs: number): void {
    const breakIt = this.breakCurrent;
    if (!breakIt) return;
    breakIt();
    this.onWorkerSide(silentMs);
    this.comeBack(ms);
  }

  private onWorkerSide: (silentMs: number) => void = () => {};

  connect(): void {
    const { time, options } = this;
    this.connection += 1;
    const { connection } = this;
    const worker = this.anyWorker();
    if (!worker) {
      this.comeBack(1_000);
      return;
    }
    const { manager, process } = worker;
    const parser = new SseParser();
    const receive = (bytes: Buffer): void => {
      for (const frame of parser.push(bytes, time.ms)) {
        if (frame.id !== undefined) this.lastEventId = frame.id;
        if (frame.retry !== undefined) this.retryMs = frame.retry;
        if (frame.event !== undefined) this.onEvent(frame.event, frame.data ?? '');
      }
    };
    const socket = new SimSocket(time, process, this, receive);
    const broken = (): void => {
      socket.cut();
      if (this.connection === connection) this.breakCurrent = undefined;
    };
    this.breakCurrent = broken;
    worker.onDeath(() => {
      if (this.connection !== connection || this.breakCurrent !== broken) return;
      broken();
      this.comeBack(this.retryMs);
    });
    // The request takes its time; the worker may be another by then.
    time.after(time.between(0, 50), process, () => {
      if (this.breakCurrent !== broken) return;
      if (!manager.ready) {
        broken();
        this.comeBack(1_000);
        return;
      }
      const id = this.hostileId(this.options.recentWindowSeconds) ?? this.lastEventId;
      const since = id === undefined ? undefined : manager.acceptCursor(parseIso(id));
      const tab = manager.open({
        out: socket,
        chunked: false,
        head: '',
        principal: options.principal,
        since,
        viewed: options.viewed,
      });
      socket.on('drain', () => manager.drained(tab));
      const over = (): void => {
        manager.gone(tab, 'client');
        if (this.connection !== connection || this.breakCurrent !== broken) return;
        broken();
        this.comeBack(this.retryMs);
      };
      socket.on('close', over);
      this.onWorkerSide = (silentMs) => time.after(silentMs, process, () => socket.destroy());
    });
  }

  /**
   * An id that tells nothing stands for `recent_window` (docs/reliability.md): who was away for longer would come with one of 1970,
   * which is told everything.
   */
  private hostileId(windowSeconds: number): string | undefined {
    const { hostile, lastEventId } = this;
    this.hostile = undefined;
    if (hostile === undefined || lastEventId === undefined) return undefined;
    const oldest = this.now() - (windowSeconds - WINDOW_MARGIN_SECONDS) * MICROS_PER_SECOND;
    if (hostile === 'of 1970' || parseIso(lastEventId)! < oldest) return '1970-01-01T00:00:00.000000';
    return hostile === 'garbage' ? 'abc; DROP TABLE' : formatIso(this.now() + HOUR);
  }

  private comeBack(ms: number): void {
    this.time.after(ms, undefined, () => this.connect());
  }

  private onEvent(event: string, data: string): void {
    const { screens } = this.options;
    if (event === 'ready') {
      // What changed before its first stream, it loads.
      if (this.firstReadyAt > this.time.ms) for (const screen of screens) screen.changed(null);
      this.firstReadyAt = Math.min(this.firstReadyAt, this.time.ms);
    } else if (event === 'history_update') {
      const { history_ids, update_time, since } = JSON.parse(data) as {
        history_ids: string[];
        update_time?: string;
        since?: Record<string, string | null>;
      };
      if (update_time !== undefined && parseIso(update_time)! > this.now() + HOUR)
        this.early.push(update_time);
      for (const id of history_ids) {
        const historyId = Number(id.slice(1));
        screens.find((screen) => screen.historyId === historyId)?.changed(since?.[id]);
        const times = this.told.get(historyId);
        if (times) times.push(this.time.ms);
        else this.told.set(historyId, [this.time.ms]);
      }
    } else if (event === 'notification_update') {
      this.notifications.add((JSON.parse(data) as { id: number }).id);
    } else if (event === 'broadcast_update') {
      this.broadcasts.add(Number((JSON.parse(data) as { id: string }).id));
    } else if (event === 'notification_status') {
      const { notifications, broadcasts } = JSON.parse(data) as {
        notifications: { id: number }[];
        broadcasts: { id: string }[];
      };
      for (const { id } of notifications) this.notifications.add(id);
      for (const { id } of broadcasts) this.broadcasts.add(Number(id));
    }
  }
}
