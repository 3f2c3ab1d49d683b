/**
 * Writes frames to sockets: the hot path.
 * Frames of a tab gather during one event-loop turn and leave in one write, with one buffer for all tabs with the same
 * frames. A delivery creates no promise, closure, timer or string, and waits for no socket: a full socket makes its tab
 * `blocked`, later frames go to the tab's queue, and a queue that overflows makes it `lagging`.
 */
import { type Batch, COMMENT, type Frame } from '../../events/frame.js';
import type { CreateDirectWrites, DirectWrites } from '../../node-internals/direct-writes.js';
import type { Tab } from '../tabs/tab.js';
import { type DropReason, EventCounts } from './event-counts.js';
import { PendingQueue } from './pending-queue.js';

/**
 * Maximum number of bytes written in one turn. Beyond it new events go first, or a large broadcast would delay them.
 */
const SLICE_BYTES = { users: 4 * 1024 * 1024, strangers: 1024 * 1024 };

/**
 * The waiting tabs of one lane, in order of arrival. Each lane has its share of a turn, so neither waits for the other.
 */
interface Lane {
  fresh: Tab[];
  /** Tabs that earlier turns had no room for. */
  delayed: Tab[];
}

export class TabWriter {
  readonly counts = new EventCounts();
  /** The second of the manager's wheel; the manager sets it. */
  second = 0;
  /** A separate lane, so that users never wait behind strangers, who may be many and may not read. */
  private readonly users: Lane = { fresh: [], delayed: [] };
  private readonly strangers: Lane = { fresh: [], delayed: [] };
  private handedOver = 0;
  private armed = false;
  private readonly onTurnEnd = (): void => this.flush();
  private readonly direct: DirectWrites<Tab> | undefined;

  constructor(
    private readonly queueSize: number,
    /** The tab lost events and its socket accepts bytes again: catch it up from its position. */
    private readonly onResumable: (tab: Tab) => void,
    /** An internal error with this tab, which must not affect the others. */
    private readonly onFailed: (tab: Tab, error: unknown) => void,
    createDirectWrites?: CreateDirectWrites | undefined,
  ) {
    this.direct = createDirectWrites?.((tab) => this.onWritable(tab));
  }

  /** Writes the first bytes of a tab, in ASCII. */
  begin(tab: Tab, text: string): void {
    try {
      tab.out.write(text, 'latin1');
      tab.handle = this.direct?.handleOf(tab.out);
    } catch (error) {
      this.onFailed(tab, error);
    }
  }

  put(tab: Tab, frame: Frame): void {
    if (tab.state === 'closed') return;
    this.counts.of(frame.kind).queued += 1;
    this.enqueue(tab, frame);
  }

  private enqueue(tab: Tab, frame: Frame): void {
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
          tab.pending = undefined;
          this.writeQueued(tab, pending);
          this.enqueue(tab, frame);
        }
        return;
      }
      case 'blocked':
      case 'catching_up': {
        tab.queue ??= new PendingQueue();
        const result = tab.queue.push(frame, this.queueSize);
        if (result === 'merged') this.counts.of(frame.kind).merged += 1;
        else if (result === 'overflow') this.overflow(tab, frame);
        return;
      }
      case 'lagging':
        this.counts.dropped([frame.kind], 'queue_full');
        return;
      case 'closed':
        this.counts.dropped([frame.kind], 'closed');
    }
  }

  private arm(): void {
    if (this.armed) return;
    this.armed = true;
    setImmediate(this.onTurnEnd);
  }

  /**
   * Writes the gathered frames, as far as one turn allows. It runs at the end of the turn; a drain calls it directly.
   */
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

  /** @returns the tabs for which there was no room */
  private flushSlice(tabs: readonly Tab[], bytes: number): readonly Tab[] {
    this.handedOver = 0;
    for (let i = 0; i < tabs.length; i += 1) {
      if (this.handedOver > bytes) return tabs.slice(i);
      this.flushTab(tabs[i]!);
    }
    return [];
  }

  /** Only a live tab has pending frames: every change of its state first writes or discards them. */
  private flushTab(tab: Tab): void {
    const { pending } = tab;
    if (pending === undefined) return;
    tab.pending = undefined;
    this.writeQueued(tab, pending);
  }

  /** Writes the frames of this turn. */
  writeQueued(tab: Tab, batch: Batch): void {
    this.counts.written(batch);
    this.write(tab, batch);
  }

  writeKeepalive(tab: Tab, { batch }: Frame): void {
    this.counts.keepalives += 1;
    this.write(tab, batch);
  }

  /** Writes a batch to the socket at once. The tab may be `blocked` afterwards. */
  private write(tab: Tab, batch: Batch): void {
    try {
      this.handOver(tab, batch);
    } catch (error) {
      this.onFailed(tab, error);
    }
  }

  private handOver(tab: Tab, batch: Batch): void {
    tab.eventId = batch.last.eventId;
    const bytes = tab.chunked ? batch.chunk : batch.plain;
    this.handedOver += bytes.length;
    const { handle, out } = tab;
    if (handle !== undefined) {
      tab.lastWrite = this.second;
      if (!this.direct!.write(tab, handle, bytes)) tab.state = 'blocked';
      return;
    }
    // A write behind bytes that still wait is no sign of progress.
    if (out.writableLength === 0) tab.lastWrite = this.second;
    // `false` alone only means that the high-water mark is exceeded. The socket is full if bytes remain.
    if (!out.write(bytes) && out.writableLength > 0) tab.state = 'blocked';
  }

  /** Writes missed frames and then, in the same write, the waiting ones. */
  writeCatchUp(tab: Tab, missed: readonly Frame[]): void {
    for (const { kind } of missed) if (kind !== COMMENT) this.counts.of(kind).resumed += 1;
    this.writeWaiting(tab, missed);
  }

  /** Afterwards the tab is `live` or `blocked`. */
  private writeWaiting(tab: Tab, before: readonly Frame[]): void {
    const waiting = tab.queue?.frames() ?? [];
    tab.queue = undefined;
    tab.state = 'live';
    for (const { kind } of waiting) this.counts.of(kind).written += 1;
    let batch: Batch | undefined;
    for (const frame of [...before, ...waiting])
      batch = batch === undefined ? frame.batch : batch.with(frame);
    if (batch !== undefined) this.write(tab, batch);
  }

  /** The socket took everything: write the waiting frames. */
  onWritable(tab: Tab): void {
    if (tab.state === 'blocked') {
      this.writeWaiting(tab, []);
    } else if (tab.state === 'lagging') {
      this.onResumable(tab);
    }
  }

  private overflow(tab: Tab, frame: Frame): void {
    this.discard(tab, 'queue_full');
    this.counts.dropped([frame.kind], 'queue_full');
    tab.state = 'lagging';
  }

  /** Discards the waiting frames of the tab. */
  discard(tab: Tab, reason: DropReason): void {
    const { pending, queue } = tab;
    tab.pending = undefined;
    tab.queue = undefined;
    if (pending !== undefined)
      this.counts.dropped(
        pending.frames().map(({ kind }) => kind),
        reason,
      );
    if (queue !== undefined) this.counts.dropped(queue.kinds(), reason);
  }
}
