/**
 * Interest routing: this worker asks the bus for the tasks of those buckets only that it holds tabs or viewed histories in.
 *
 * ```
 *   unasked ──attend──► binding ──bind-ok──► bound ──database time read──► bound and covered
 *      ▲                   └──bus away──► remembered ──gap told──► bound      │
 *      └────────────── nobody here for two sweeps ◄───────────────────────────┘
 * ```
 *
 * Nothing is lost by it, because
 * - a tab begins (its head, `ready` and its catch-up) only after the bind-ok of its buckets: what is committed after `ready`
 *   is published after the binding, and so received; what was committed before is what a catch-up reads.
 * - while the bus is away a tab begins at once, as without interest routing: its buckets are bound before the gap is told,
 *   and the repair of the gap reads all changes since the watermark.
 * - the recent log answers for a bucket from the moment M on, the database clock as read after the bind-ok. A tab comes with
 *   a cursor, and floor ≤ cursor; memory is asked where M ≤ floor. A change that was published before the binding was also
 *   committed before it, hence before M ≤ cursor, and everything before its cursor is behind the tab. Any other change that
 *   the tab lacks was published after the binding: it is received here, behind the tick of that cursor on the same channel,
 *   and is in the log with a moment not before the cursor (`Watermark.latest`), as without interest routing.
 * - once a bucket is unbound its M is infinite again.
 */
import type { Subscriber } from '../bus/port.js';
import type { Cursor, HistoryId, Principal } from '../core/events.js';
import { BUCKETS, type Bucket, historyBucket, ownerBucket } from '../core/interest.js';
import type { Logger } from '../telemetry/logger.js';
import type { TabRegistry } from './registry.js';
import type { ViewerRegistry } from './viewers.js';

/** A page that is reloaded, or a laptop that sleeps for a moment, finds its bucket as it left it. */
const UNUSED_SWEEPS = 2;

export interface InterestParts {
  bus: Pick<Subscriber, 'bind' | 'unbind'>;
  /** The database clock. @throws LightconeError DATABASE_UNAVAILABLE */
  now: () => Promise<Cursor>;
  registry: TabRegistry;
  viewers: ViewerRegistry;
  logger: Logger;
}

export class Interest {
  private readonly asked = new Uint8Array(BUCKETS);
  /** Sweeps in a row that found nobody. */
  private readonly unused = new Uint8Array(BUCKETS);
  /** M of each bucket. */
  private readonly coveredSince = new Float64Array(BUCKETS).fill(Number.POSITIVE_INFINITY);
  private readonly binding = new Map<Bucket, Promise<void>>();
  /** Of tabs that wait for one of theirs: the others, bound before, must not be given up meanwhile. */
  private readonly awaited = new Set<readonly Bucket[]>();
  /** Bound, and without M yet: waiting for a read of the clock, and in the one under way. */
  private uncovered = new Set<Bucket>();
  private reading: Set<Bucket> | undefined;

  constructor(private readonly parts: InterestParts) {}

  /**
   * To be called before a tab is opened.
   *
   * @param viewed histories that the tab is to look at without owning them
   * @returns undefined when the tab may begin at once, else a promise (that never rejects) of when it may
   */
  attend(principal: Principal, viewed: readonly HistoryId[]): Promise<void> | undefined {
    return this.ask(bucketsOfTab(principal, viewed));
  }

  /** The same for a history that a user or session with tabs here begins to look at. */
  attendHistory(historyId: HistoryId): Promise<void> | undefined {
    return this.ask([historyBucket(historyId)]);
  }

  private ask(buckets: readonly Bucket[]): Promise<void> | undefined {
    for (const bucket of buckets) this.unused[bucket] = 0;
    const missing = buckets.filter((bucket) => this.asked[bucket] === 0);
    if (missing.length > 0) this.bind(missing);
    if (this.binding.size === 0) return undefined;
    const bindings = buckets.flatMap((bucket) => this.binding.get(bucket) ?? []);
    if (bindings.length === 0) return undefined;
    this.awaited.add(buckets);
    return Promise.all(bindings).then(() => {
      this.awaited.delete(buckets);
    });
  }

  private bind(buckets: readonly Bucket[]): void {
    for (const bucket of buckets) this.asked[bucket] = 1;
    const bound = this.parts.bus.bind(buckets).then((received) => {
      for (const bucket of buckets) this.binding.delete(bucket);
      if (received) this.cover(buckets);
    });
    for (const bucket of buckets) this.binding.set(bucket, bound);
  }

  /** The bus is back: what was asked for while it was away is bound. */
  reconnected(): void {
    const remembered: Bucket[] = [];
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      if (this.asked[bucket] === 1 && !this.isCovered(bucket) && !this.binding.has(bucket)) {
        remembered.push(bucket);
      }
    }
    this.cover(remembered);
  }

  private isCovered(bucket: Bucket): boolean {
    return this.coveredSince[bucket] !== Number.POSITIVE_INFINITY;
  }

  /** Reads the clock for them: after the bind-ok, so never in a read that is under way already. */
  private cover(buckets: readonly Bucket[]): void {
    for (const bucket of buckets) this.uncovered.add(bucket);
    if (this.reading === undefined && this.uncovered.size > 0) void this.readClock();
  }

  private async readClock(): Promise<void> {
    try {
      while (this.uncovered.size > 0) {
        this.reading = this.uncovered;
        this.uncovered = new Set();
        const now = await this.parts.now();
        for (const bucket of this.reading) this.coveredSince[bucket] = now;
      }
    } catch (error) {
      // Until the next sweep tabs of these buckets are caught up from the database, which is as right and only slower.
      this.parts.logger.debug({ err: error }, 'the database clock cannot be read for new buckets yet');
      for (const bucket of this.reading ?? []) this.uncovered.add(bucket);
    } finally {
      this.reading = undefined;
    }
  }

  /** Whether the recent log holds all that happened in the buckets of this tab at `floor` or later. */
  covers(principal: Principal, viewed: readonly HistoryId[], floor: Cursor): boolean {
    return bucketsOfTab(principal, viewed).every((bucket) => floor >= this.coveredSince[bucket]!);
  }

  coversHistory(historyId: HistoryId, floor: Cursor): boolean {
    return floor >= this.coveredSince[historyBucket(historyId)]!;
  }

  /** Gives up buckets that nobody here has needed for a while. Called once in so many seconds, never for each tab that closes. */
  sweep(): void {
    const used = new Uint8Array(BUCKETS);
    for (const { principal } of this.parts.registry.all) {
      for (const bucket of bucketsOfTab(principal, [])) used[bucket] = 1;
    }
    for (const historyId of this.parts.viewers.histories()) used[historyBucket(historyId)] = 1;
    for (const buckets of this.awaited) for (const bucket of buckets) used[bucket] = 1;
    const given: Bucket[] = [];
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
      if (this.asked[bucket] === 0 || this.binding.has(bucket)) continue;
      this.unused[bucket] = used[bucket] === 1 ? 0 : this.unused[bucket]! + 1;
      if (this.unused[bucket]! >= UNUSED_SWEEPS) given.push(bucket);
    }
    this.unbind(given);
    this.cover([]);
  }

  private unbind(buckets: readonly Bucket[]): void {
    if (buckets.length === 0) return;
    for (const bucket of buckets) {
      this.asked[bucket] = 0;
      this.coveredSince[bucket] = Number.POSITIVE_INFINITY;
      // Bound again before that read is through, it would get a moment from before its binding.
      this.uncovered.delete(bucket);
      this.reading?.delete(bucket);
    }
    this.parts.bus.unbind(buckets);
  }
}

function bucketsOfTab({ userId, sessionId }: Principal, viewed: readonly HistoryId[]): Bucket[] {
  const buckets = viewed.map(historyBucket);
  if (userId !== undefined) buckets.push(ownerBucket(userId));
  if (sessionId !== undefined) buckets.push(ownerBucket(sessionId));
  return buckets;
}
