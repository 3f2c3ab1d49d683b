/** Opens and closes the tabs of this worker, and does their periodic work. Other classes decide what they receive. */
import type { Writable } from 'node:stream';
import type { Cursor, HistoryId, Principal } from '../../core/events.js';
import type { EventId } from '../../events/frame.js';
import type { Clock } from '../../lib/clock.js';
import { MICROS_PER_SECOND } from '../../lib/time.js';
import type { Logger } from '../../telemetry/logger.js';
import type { Metrics } from '../../telemetry/metrics.js';
import type { ViewerRegistry } from '../routing/viewers.js';
import { preamble } from '../writing/body.js';
import type { TabWriter } from '../writing/tab-writer.js';
import { ClosingTabs } from './closing-tabs.js';
import { drainTabs } from './drain.js';
import type { TabRegistry } from './registry.js';
import { Tab } from './tab.js';
import { TimerWheel } from './timer-wheel.js';

export type CloseReason = 'client' | 'error' | 'revoked' | 'stalled' | 'drained' | 'administrator';

export interface OpenRequest {
  out: Writable;
  chunked: boolean;
  /** Bytes that precede the body: the response head of a socket that was detached from the HTTP server, or ''. */
  head: string;
  principal: Principal;
  /** From `acceptCursor`. */
  since: Cursor | undefined;
  /** For `Admission`: the address of a caller without a user, if `countsAddresses`. */
  address?: string | undefined;
  /** The caller's address, for administrators. */
  from?: string;
  /** Histories of other owners to view for the life of the stream. The caller's access has been checked. */
  viewed: readonly HistoryId[];
}

export interface OpenTabsOptions {
  config: { keepaliveSeconds: number; writeTimeoutSeconds: number };
  registry: TabRegistry;
  viewers: ViewerRegistry;
  writer: TabWriter;
  keepalive: (tab: Tab) => void;
  clock: Clock;
  random: () => number;
  logger: Logger;
  metrics: Metrics;
}

export class OpenTabs {
  private readonly wheel: TimerWheel;
  private readonly closingTabs = new ClosingTabs();
  private opened = 0;
  private openedAt = 0;

  constructor(private readonly options: OpenTabsOptions) {
    const { keepaliveSeconds, writeTimeoutSeconds } = options.config;
    this.wheel = new TimerWheel(keepaliveSeconds, writeTimeoutSeconds, {
      keepalive: options.keepalive,
      stalled: (tab) => this.close(tab, 'stalled'),
    });
  }

  /** Seconds since the start. */
  get second(): number {
    return this.wheel.second;
  }

  /** Writes its first bytes. @param position the resume cursor that they carry */
  open({ out, chunked, head, principal, since, viewed, address, from }: OpenRequest, eventId: EventId): Tab {
    const { registry, viewers, writer, clock, random } = this.options;
    const tab = new Tab(out, chunked, principal, eventId, since, address, from);
    this.opened += 1;
    this.openedAt = Math.max(this.openedAt, Math.floor(clock.now() / MICROS_PER_SECOND));
    tab.id = this.opened;
    tab.openedAt = this.openedAt;
    registry.add(tab);
    this.wheel.add(tab);
    for (const historyId of viewed) viewers.subscribe({ tab }, historyId);
    writer.begin(tab, preamble(head, chunked, eventId, random));
    return tab;
  }

  /** The socket has closed. May be called for a closed tab. */
  onClosed(tab: Tab, reason: CloseReason): void {
    const { registry, viewers, writer, metrics } = this.options;
    if (!registry.remove(tab)) {
      this.closingTabs.closed(tab);
      return;
    }
    this.wheel.remove(tab);
    tab.state = 'closed';
    writer.discard(tab, 'closed');
    if (viewers.size > 0) {
      const { userId, sessionId } = tab.principal;
      viewers.forget({ tab });
      if (userId !== undefined && !registry.firstOfUser(userId)) viewers.forget({ userId });
      if (sessionId !== undefined && !registry.firstOfSession(sessionId)) viewers.forget({ sessionId });
    }
    metrics.increment('galaxy.sse.connections.closed', 1, { reason });
  }

  onFailed(tab: Tab, error: unknown): void {
    this.options.logger.error({ err: error }, 'stream failed inside Lightcone: its connection is closed');
    this.onClosed(tab, 'error');
    tab.out.destroy();
  }

  /** Closes a tab from this side: properly if its socket accepts bytes, otherwise at once. */
  close(tab: Tab, reason: CloseReason): void {
    if (tab.state === 'closed') return;
    const { state } = tab;
    this.flush(tab);
    this.onClosed(tab, reason);
    const takesBytes = (state === 'live' && reason !== 'stalled') || state === 'catching_up';
    if (!takesBytes) tab.out.destroy();
    else {
      try {
        this.closingTabs.end(tab, this.wheel.second);
      } catch (error) {
        this.onFailed(tab, error);
      }
    }
  }

  /** Writes what waits for the end of this turn now, if the tab accepts it. */
  flush(tab: Tab): void {
    const { state, pending } = tab;
    if (state !== 'live' || pending === undefined) return;
    tab.pending = undefined;
    this.options.writer.writeQueued(tab, pending);
  }

  onSecond(): void {
    this.wheel.advance();
    this.options.writer.second = this.wheel.second;
    this.closingTabs.expire(this.wheel.second);
  }

  /** Closes streams in slices. Cuts streams that do not take their bytes within `timeoutMs`. */
  async drain(timeoutMs: number): Promise<void> {
    const { registry, clock } = this.options;
    await drainTabs(registry, this.closingTabs, clock, timeoutMs, (tab) => this.close(tab, 'drained'));
    this.closingTabs.cutAll();
    for (const tab of [...registry.all]) {
      this.onClosed(tab, 'drained');
      tab.out.destroy();
    }
  }

  closeAll(): void {
    for (const tab of [...this.options.registry.all]) this.close(tab, 'drained');
    this.closingTabs.cutAll();
  }
}
