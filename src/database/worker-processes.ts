import type { Micros } from '../core/events.js';
import { parseSql } from '../lib/time.js';
import { utcNow, utcNowMinus } from './dialect.js';
import type { Database, SqlRow, WorkerProcesses, WorkerProcessRow } from './port.js';

interface Row extends SqlRow {
  now: string;
  server_name: string | null;
  hostname: string | null;
  pid: number | null;
  app_type: string | null;
  update_time: string | null;
}

/** The heartbeat table (contract, section 2). All times are the database's. */
export class SqlWorkerProcesses implements WorkerProcesses {
  constructor(private readonly db: Database) {}

  async beat(
    self: { serverName: string; hostname: string; pid: number; appType: string },
    activeMs: number,
  ): Promise<{ now: Micros; active: WorkerProcessRow[] }> {
    const upsert = `
      INSERT INTO worker_process (server_name, hostname, pid, app_type, update_time)
      VALUES ($1, $2, $3, $4, ${utcNow(this.db.dialect)})
      ON CONFLICT (server_name, hostname) DO UPDATE
         SET pid = excluded.pid, app_type = excluded.app_type, update_time = excluded.update_time`;
    const params = [self.serverName, self.hostname, self.pid, self.appType];
    if (this.db.dialect === 'sqlite') {
      await this.db.run(upsert, params);
      return this.active(activeMs);
    }
    // The outer query sees the table from before the statement, so RETURNING supplies the process's own row.
    const rows = await this.db.all<Row>(
      `WITH beat AS (${upsert} RETURNING server_name, hostname, pid, app_type, update_time)
       SELECT ${utcNow(this.db.dialect)} AS now, a.* FROM (
         SELECT * FROM beat
         UNION ALL
         SELECT server_name, hostname, pid, app_type, update_time FROM worker_process
          WHERE update_time > ${utcNowMinus(this.db.dialect, 5)}
            AND (server_name <> $1 OR hostname <> $2)) a`,
      [...params, activeMs / 1000],
    );
    return read(rows);
  }

  async active(activeMs: number): Promise<{ now: Micros; active: WorkerProcessRow[] }> {
    const rows = await this.db.all<Row>(
      `SELECT clock.now, a.server_name, a.hostname, a.pid, a.app_type, a.update_time
         FROM (SELECT ${utcNow(this.db.dialect)} AS now) clock
         LEFT JOIN worker_process a ON a.update_time > ${utcNowMinus(this.db.dialect, 1)}`,
      [activeMs / 1000],
    );
    return read(rows);
  }

  async remove({
    serverName,
    hostname,
    pid,
  }: {
    serverName: string;
    hostname: string;
    pid: number;
  }): Promise<void> {
    await this.db.run('DELETE FROM worker_process WHERE server_name = $1 AND hostname = $2 AND pid = $3', [
      serverName,
      hostname,
      pid,
    ]);
  }
}

function read(rows: readonly Row[]): { now: Micros; active: WorkerProcessRow[] } {
  const active = rows.flatMap((row) =>
    row.server_name === null || row.update_time === null
      ? []
      : [
          {
            serverName: row.server_name,
            hostname: row.hostname ?? '',
            pid: row.pid ?? undefined,
            appType: row.app_type ?? undefined,
            updateTime: parseSql(row.update_time),
          },
        ],
  );
  return { now: parseSql(rows[0]!.now), active };
}
