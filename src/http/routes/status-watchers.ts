/**
 * The open status pages. Each receives the state of the installation once a second, while its reader is an
 * administrator.
 */
import type { ServerResponse } from 'node:http';
import { LightconeError } from '../../core/errors.js';
import type { Principal } from '../../core/events.js';
import type { Authentication } from '../auth/authentication.js';
import type { ClusterSource, HistoryBucket } from './cluster-source.js';

const MOST_WATCHERS = 20;
/** A page outlives its permission by at most a minute. */
const RECHECK_SECONDS = 25;
const LONGEST_UNCONFIRMED_SECONDS = 50;
/** A page that reads nothing for this long is dropped: a sleeping laptop does not disconnect. */
const STALLED_SECONDS = 30;

const HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store',
  'X-Accel-Buffering': 'no',
};

interface Watcher {
  response: ServerResponse;
  principal: Principal;
  seconds: number;
  confirmedAt: number;
  /** Seconds without a read. The page then receives the whole history again. */
  missed: number;
}

export class StatusWatchers {
  private readonly watchers = new Set<Watcher>();
  private endListening: (() => void) | undefined;

  constructor(
    private readonly source: ClusterSource,
    private readonly authenticator: Pick<Authentication, 'recheck'>,
  ) {}

  /** @throws LightconeError OVERLOADED */
  admit(): void {
    if (this.watchers.size < MOST_WATCHERS) return;
    throw new LightconeError('OVERLOADED', `${MOST_WATCHERS} status pages are already open on this worker`, {
      retryAfterSeconds: 30,
    });
  }

  /** @param principal an administrator */
  begin(principal: Principal, response: ServerResponse): void {
    const watcher: Watcher = { principal, response, seconds: 0, confirmedAt: 0, missed: 0 };
    this.watchers.add(watcher);
    response.on('close', () => this.forget(watcher)).on('error', () => response.destroy());
    response.writeHead(200, HEADERS);
    response.write(message('history', this.source.history()) + message('now', this.source.now()));
    this.endListening ??= this.source.onSecond((bucket) => this.everySecond(bucket));
  }

  endAll(): void {
    for (const { response } of this.watchers) response.end();
  }

  private forget(watcher: Watcher): void {
    this.watchers.delete(watcher);
    if (this.watchers.size > 0) return;
    this.endListening?.();
    this.endListening = undefined;
  }

  /** While the permission cannot be checked, the page stays for some time. */
  private async confirm(watcher: Watcher): Promise<void> {
    const { principal, seconds, response } = watcher;
    try {
      const valid = await this.authenticator.recheck([principal]);
      if (valid.has(principal)) watcher.confirmedAt = seconds;
      else response.end();
    } catch {
      if (seconds - watcher.confirmedAt >= LONGEST_UNCONFIRMED_SECONDS) response.end();
    }
  }

  private everySecond(bucket: HistoryBucket | undefined): void {
    const now = message('now', this.source.now());
    const text = bucket === undefined ? now : message('bucket', bucket) + now;
    for (const watcher of this.watchers) {
      watcher.seconds += 1;
      if (watcher.seconds % RECHECK_SECONDS === 0) void this.confirm(watcher);
      const { response } = watcher;
      if (response.writableNeedDrain) {
        watcher.missed += 1;
        if (watcher.missed >= STALLED_SECONDS) response.destroy();
        continue;
      }
      response.write(watcher.missed > 0 ? message('history', this.source.history()) + now : text);
      watcher.missed = 0;
    }
  }
}

const message = (event: string, data: unknown): string =>
  `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
