/**
 * Transactions over the rows that screens show: open for seconds or a minute, rolled back, in savepoints, prepared, stamped by
 * clocks that are off by up to two seconds.
 */
import pg from 'pg';
import { clientOptions } from '../../src/database/postgres/options.js';
import type { Commit } from './writer.js';

/** Transactions that are open at a time. */
const AT_ONCE = 8;
const CLOCK_OFF_SECONDS = 2;

export interface RowWriterOptions {
  databaseUrl: string;
  /** Datasets, with their histories. */
  rows: readonly { id: number; historyId: number }[];
  longestMs: number;
  /** What was announced by NOTIFY and committed: the tabs have to be told of it. */
  onCommit: (commit: Commit) => void;
  random: () => number;
}

type Kind = (client: pg.PoolClient, work: Work) => Promise<boolean>;

interface Work {
  id: number;
  historyId: number;
  update: string;
  insertAudit: string;
  name: string;
  /** For as long as the transaction is open. */
  wait: () => Promise<void>;
}

/** Each resolves with whether the tabs hear of a commit. */
const KINDS: Readonly<Record<string, Kind>> = {
  async committed(client, { update, wait }) {
    await client.query(`BEGIN; ${update}`);
    await wait();
    await client.query('COMMIT');
    return true;
  },
  async rolledBack(client, { update, wait }) {
    await client.query(`BEGIN; ${update}`);
    await wait();
    await client.query('ROLLBACK');
    return false;
  },
  async inSavepoint(client, { update, wait }) {
    await client.query(`BEGIN; SAVEPOINT one; ${update}`);
    await wait();
    await client.query('COMMIT');
    return true;
  },
  async savepointRolledBack(client, { id, update, wait }) {
    await client.query(`BEGIN; SAVEPOINT one; ${update}; RELEASE one; SAVEPOINT two;
      UPDATE history_dataset_association SET name = 'never seen' WHERE id = ${id}`);
    await wait();
    await client.query('ROLLBACK TO two; COMMIT');
    return true;
  },
  /** NOTIFY and PREPARE exclude each other: only the audit row tells. */
  async prepared(client, { id, update, insertAudit, name, wait }) {
    await client.query(`BEGIN; SET LOCAL session_replication_role = replica; ${update}; ${insertAudit};
      PREPARE TRANSACTION '${name}'`);
    await wait();
    await client.query(`${id % 3 === 0 ? 'ROLLBACK' : 'COMMIT'} PREPARED '${name}'`);
    return false;
  },
};

export class RowWriter {
  /** By kind: how many came to their end. */
  readonly ended = new Map<string, number>();
  private readonly pool: pg.Pool;
  private readonly busy = new Set<number>();
  private stopping = new AbortController();
  private loops: Promise<void>[] = [];
  private count = 0;

  constructor(private readonly options: RowWriterOptions) {
    this.pool = new pg.Pool({ ...clientOptions(options.databaseUrl, 'writer'), max: AT_ONCE });
    this.pool.on('error', () => {});
    this.pool.on('connect', (client) => {
      client.on('error', () => {});
      // What is set for our role is not meant for others.
      void client
        .query(`SELECT set_config(name, '0', false) FROM pg_settings
                 WHERE name IN ('idle_session_timeout', 'transaction_timeout')`)
        .catch(() => {});
    });
  }

  start(): void {
    if (this.loops.length > 0) return;
    this.stopping = new AbortController();
    this.loops = Array.from({ length: AT_ONCE }, () => this.loop(this.stopping.signal));
  }

  /** Resolves when no transaction is open, and the last one was announced. */
  async pause(): Promise<void> {
    if (this.loops.length === 0) return;
    this.stopping.abort();
    await Promise.all(this.loops);
    this.loops = [];
    for (const { gid } of (await this.query('SELECT gid FROM pg_prepared_xacts')).rows) {
      // Of other databases, too: those are not ours to end, and cannot be.
      await this.query(`ROLLBACK PREPARED '${gid}'`).catch(() => {});
    }
    const { historyId } = this.options.rows[0]!;
    await this.query(`UPDATE history SET name = 'the end of a round' WHERE id = ${historyId}`);
  }

  async close(): Promise<void> {
    await this.pause();
    await this.pool.end();
  }

  private async query(text: string): Promise<pg.QueryResult> {
    const deadline = performance.now() + 15_000;
    for (;;) {
      try {
        return await this.pool.query(text);
      } catch (error) {
        if (performance.now() > deadline || (error as { code?: string }).code === '42704') throw error;
        await pause(100);
      }
    }
  }

  private async loop(stopped: AbortSignal): Promise<void> {
    const { random } = this.options;
    while (!stopped.aborted) {
      await this.transaction(stopped).catch(() => pause(200));
      await pause(300 * random());
    }
  }

  private async transaction(stopped: AbortSignal): Promise<void> {
    const { rows, random, longestMs, onCommit } = this.options;
    const free = rows.filter(({ id }) => !this.busy.has(id));
    const { id, historyId } = free[Math.floor(random() * free.length)]!;
    const kinds = Object.keys(KINDS);
    const kind = kinds[Math.floor(random() * kinds.length)]!;
    this.count += 1;
    const name = `row ${id}, transaction ${this.count}`;
    const off = (2 * random() - 1) * CLOCK_OFF_SECONDS;
    const now = `clock_timestamp() AT TIME ZONE 'UTC' + interval '${off.toFixed(3)} s'`;
    const openMs = longestMs * random() ** 2;
    let sent = 0;
    const work: Work = {
      id,
      historyId,
      name,
      update: `UPDATE history_dataset_association SET name = '${name}', update_time = ${now} WHERE id = ${id}`,
      insertAudit: `INSERT INTO history_audit (history_id, update_time) VALUES (${historyId}, clock_timestamp() AT TIME ZONE 'UTC')`,
      wait: async () => {
        await pause(openMs, stopped);
        sent = performance.now();
      },
    };
    this.busy.add(id);
    const client = await this.pool.connect().catch((error) => {
      this.busy.delete(id);
      throw error;
    });
    let failed: Error | undefined;
    try {
      if (await KINDS[kind]!(client, work)) onCommit({ historyId, sent, done: performance.now() });
      this.ended.set(kind, 1 + (this.ended.get(kind) ?? 0));
    } catch (error) {
      failed = error as Error;
      throw error;
    } finally {
      client.release(failed);
      this.busy.delete(id);
    }
  }
}

/** Ends early when stopped. */
function pause(ms: number, stopped?: AbortSignal): Promise<void> {
  if (stopped?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      stopped?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    stopped?.addEventListener('abort', done, { once: true });
  });
}
