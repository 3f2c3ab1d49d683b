/**
 * From a frame to the socket: the hot path.
 *
 * Frames for a tab gather during one event-loop turn and leave in one write, the same buffer for every tab with the same
 * frames. No promise, closure, timer or string is made per delivery. Nobody is waited for: a socket that is full turns its
 * tab to `blocked`, what follows goes to the tab's outbox, and an outbox that overflows turns it to `lagging`.
 */
import type { Batch, Frame } from '../../events/frame.js';
import type { CreateDirectWrites, DirectWrites } from '../../node-internals/direct-writes.js';
import type { Metrics } from '../../telemetry/metrics.js';
import type { Tab } from '../tabs/tab.js';
import { PendingQueue } from './pending-queue.js';

export interface TabWriterCounts {
  queued: number;
  written: number;
  merged: number;
  dropped: number;
}

/** Bytes that are handed over in one turn: beyond them what came meanwhile goes first, or a large broadcast would hold it up. */
const SLICE_BYTES = { users: 1024 * 1024, strangers: 256 * 1024 };

/** What waits in one lane, in the order in which it came. Each of both has its share of the turn, so that neither waits for the other. */
interface Lane {
  fresh: Tab[];
  /** Those that a turn before this one had no room for. */
  delayed: Tab[];
}

export class TabWriter {
  readonly counts: TabWriterCounts = { queued: 0, written: 0, merged: 0, dropped: 0 };
  /** Second of the manager's wheel; set by the manager. */
  second = 0;
  /** Of their own, so that users never stand behind strangers, who may be many and take what they are sent without reading it. */
  private readonly users: Lane = { fresh: [], delayed: [] };
  private readonly strangers: Lane = { fresh: [], delayed: [] };
  private handedOver = 0;
  private armed = false;
  private readonly onTurnEnd = (): void => this.flush();
  private readonly direct: DirectWrites<Tab> | undefined;

  constructor(
    private readonly queueSize: number,
    private readonly metrics: Metrics,
    /** The tab lost events and its socket takes bytes again: catch it up from its position. */
    private readonly onResumable: (tab: Tab) => void,
    /** Something of ours is wrong with this tab: what happened to it must not happen to the others. */
    private readonly onFailed: (tab: Tab, error: unknown) => void,
    createDirectWrites?: CreateDirectWrites | undefined,
  ) {
    this.direct = createDirectWrites?.((tab) => this.drained(tab));
  }

  /** Writes a tab's first bytes, ASCII. */
  begin(tab: Tab, text: string): void {
    try {
      tab.out.write(text, 'latin1');
      tab.handle = this.direct?.handleOf(tab.out);
    } catch (error) {
      this.onFailed(tab, error);
    }
  }

  put(tab: Tab, frame: Frame): void {
    this.counts.queued += 1;
    switch (tab.state) {
      case 'live': {
        const pending = tab.pending;
        if (pending === undefined) {
          tab.pending = frame.batch;
          (tab.principal.userId === undefined ? this.strangers : this.users).fresh.push(tab);
          this.arm();
        } else if (pending.length < this.queueSize) {
          tab.pending = pending.with(frame);
        } else {
          this.write(tab, pending);
          tab.pending = undefined;
          this.put(tab, frame);
          this.counts.queued -= 1;
        }
        return;
      }
      case 'blocked':
      case 'catching_up': {
        tab.queue ??= new PendingQueue();
        const result = tab.queue.push(frame, this.queueSize);
        if (result === 'merged') this.counts.merged += 1;
        else if (result === 'overflow') this.overflow(tab);
        return;
      }
      case 'lagging':
        this.drop(1);
        return;
      case 'closed':
        return;
    }
  }

  private arm(): void {
    if (this.armed) return;
    this.armed = true;
    setImmediate(this.onTurnEnd);
  }

  /** Writes what has gathered, as far as one turn allows. Runs by itself at the end of the turn; a drain calls it directly. */
  flush(): void {
    this.armed = false;
    this.flushLane(this.users, SLICE_BYTES.users);
    this.flushLane(this.strangers, SLICE_BYTES.strangers);
    if (this.users.delayed.length + this.strangers.delayed.length > 0) this.arm();
  }

  private flushLane(lane: Lane, bytes: number): void {
    const { delayed, fresh } = lane;
    if (delayed.length + fresh.length === 0) return;
    lane.fresh = [];
    lane.delayed = [];
    lane.delayed = [...this.flushSlice(delayed, bytes), ...this.flushSlice(fresh, bytes)];
  }

  /** @returns those that there was no room for */
  private flushSlice(tabs: readonly Tab[], bytes: number): readonly Tab[] {
    this.handedOver = 0;
    for (let i = 0; i < tabs.length; i += 1) {
      if (this.handedOver > bytes) return tabs.slice(i);
      this.flushTab(tabs[i]!);
    }
    return [];
  }

  private flushTab(tab: Tab): void {
    const { pending } = tab;
    if (pending === undefined) return;
    tab.pending = undefined;
    if (tab.state === 'live') this.write(tab, pending);
    else if (tab.state === 'blocked') {
      this.counts.queued -= pending.length;
      for (const frame of pending.frames()) this.put(tab, frame);
    }
  }

  /** Hands a batch to the socket at once; the tab may be `blocked` afterwards. */
  write(tab: Tab, batch: Batch): void {
    try {
      this.handOver(tab, batch);
    } catch (error) {
      this.onFailed(tab, error);
    }
  }

  private handOver(tab: Tab, batch: Batch): void {
    tab.position = batch.last.position;
    this.counts.written += batch.length;
    const bytes = tab.chunked ? batch.chunk : batch.plain;
    this.handedOver += bytes.length;
    const { handle, out } = tab;
    if (handle !== undefined) {
      tab.lastWrite = this.second;
      if (!this.direct!.write(tab, handle, bytes)) tab.state = 'blocked';
      return;
    }
    // A write behind bytes that still wait says nothing of a client that takes none.
    if (out.writableLength === 0) tab.lastWrite = this.second;
    // `false` alone says that more than the high-water mark was handed over; only what is still there is a full socket.
    if (!out.write(bytes) && out.writableLength > 0) tab.state = 'blocked';
  }

  /** Writes several frames in one go; afterwards the tab is `live` or `blocked`. */
  writeAll(tab: Tab, frames: readonly Frame[]): void {
    tab.state = 'live';
    let batch: Batch | undefined;
    for (const frame of frames) batch = batch === undefined ? frame.batch : batch.with(frame);
    if (batch !== undefined) this.write(tab, batch);
  }

  /** The socket took everything: what waited goes out. */
  drained(tab: Tab): void {
    if (tab.state === 'blocked') {
      const queue = tab.queue;
      tab.queue = undefined;
      this.writeAll(tab, queue?.frames() ?? []);
    } else if (tab.state === 'lagging') {
      this.onResumable(tab);
    }
  }

  private overflow(tab: Tab): void {
    this.drop((tab.queue?.size ?? 0) + 1);
    tab.queue = undefined;
    tab.state = 'lagging';
  }

  private drop(count: number): void {
    this.counts.dropped += count;
    this.metrics.increment('galaxy.sse.connections.dropped', count, DROPPED_TAGS);
  }
}

const DROPPED_TAGS = { reason: 'queue_full' } as const;
