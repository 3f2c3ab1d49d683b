/** The program that changes histories all the time, and knows for certain what it has committed. */
import { setMaxListeners } from 'node:events';
import pg from 'pg';
import { clientOptions } from '../../src/database/postgres/options.js';

export interface Commit {
  historyId: number;
  /** When COMMIT was sent (`performance.now()`). An event can overtake the answer to it, but not the question. */
  sent: number;
  /** When its answer was there: from here on nobody can say that it did not happen. */
  done: number;
}

const CHANGES_PER_SECOND = 2.5;
const LONGEST_BURST = 20;
const WITHIN_BURST_MS = 20;

/**
 * Each history gets 2.5 changes a second on average, in bursts with quiet stretches of up to 8 s between them. In a steady
 * stream every lost event would be covered up by the next one a moment later; before a quiet stretch it is seen.
 */
export class Writer {
  readonly commits: Commit[] = [];
  /** Changes whose COMMIT was not answered; they may have happened or not, and are not judged. */
  unknown = 0;
  private readonly pool: pg.Pool;
  private stopping = new AbortController();
  private loops: Promise<void>[] = [];

  constructor(
    databaseUrl: string,
    private readonly historyIds: readonly number[],
    private readonly random: () => number,
  ) {
    this.pool = new pg.Pool({ ...clientOptions(databaseUrl, 'writer'), max: 10, query_timeout: 3_000 });
    this.pool.on('error', () => {});
  }

  start(): void {
    if (this.loops.length > 0) return;
    this.stopping = new AbortController();
    setMaxListeners(this.historyIds.length, this.stopping.signal);
    this.loops = this.historyIds.map((historyId) => this.change(historyId, this.stopping.signal));
  }

  /** Resolves when the last COMMIT is answered. */
  async pause(): Promise<void> {
    this.stopping.abort();
    await Promise.all(this.loops);
    this.loops = [];
  }

  async close(): Promise<void> {
    await this.pause();
    await this.pool.end();
  }

  private async change(historyId: number, stopped: AbortSignal): Promise<void> {
    await pause(this.random() * 2_000, stopped);
    while (!stopped.aborted) {
      const begin = performance.now();
      const burst = 1 + Math.floor(this.random() * LONGEST_BURST);
      for (let i = 0; i < burst && !stopped.aborted; i += 1) {
        await this.commit(historyId);
        await pause(WITHIN_BURST_MS, stopped);
      }
      await pause((burst / CHANGES_PER_SECOND) * 1000 - (performance.now() - begin), stopped);
    }
  }

  private async commit(historyId: number): Promise<void> {
    const sent = performance.now();
    try {
      await this.pool.query('UPDATE history SET name = $1 WHERE id = $2', [`changed at ${sent}`, historyId]);
      this.commits.push({ historyId, sent, done: performance.now() });
    } catch {
      this.unknown += 1;
    }
  }

  /** A transaction that changes the history at once and commits after `ms`. */
  async slowTransaction(historyId: number, ms: number): Promise<Commit> {
    const client = await this.pool.connect();
    try {
      await client.query('BEGIN');
      await client.query('UPDATE history SET name = $1 WHERE id = $2', ['changed slowly', historyId]);
      await new Promise((resolve) => setTimeout(resolve, ms));
      const sent = performance.now();
      await client.query('COMMIT');
      const commit = { historyId, sent, done: performance.now() };
      this.commits.push(commit);
      return commit;
    } finally {
      client.release();
    }
  }
}

/** Ends early, without an error, when stopped. */
function pause(ms: number, stopped: AbortSignal): Promise<void> {
  if (ms <= 0 || stopped.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stopped.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    stopped.addEventListener('abort', done, { once: true });
  });
}
