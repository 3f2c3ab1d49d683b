/** The proxy for interactive tools must never be told of what the table of entry points does not say. */
import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { afterEach, describe, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';
import { EVERYTHING, type Rest, restOf } from '../support/rest.js';
import { readMap } from '../support/session-map.js';

interface Route {
  key: string;
  host: string;
  port: number;
}

const url = '/api/entry_points';
const TOOLS_PER_PROCESS = 12;
let here: Installation;
afterEach(() => here.close());

/** The table's own truth: what is configured, not deleted, and runs. */
const activeRows = async (): Promise<Route[]> =>
  (
    await here.sql<{ id: number; host: string; port: number }>(
      `SELECT e.id, e.host, e.port FROM interactivetool_entry_point e JOIN job j ON j.id = e.job_id
        WHERE e.configured = true AND e.deleted = false AND j.state = 'running'`,
    )
  ).map(({ id, host, port }) => ({ key: here.ids.encodeEntryPointId(id), host, port }));

/** One look at both, the map first and held while the table is read: what it shows cannot be taken back meanwhile. */
async function lookAtFile(): Promise<{ map: Route[]; table: Route[] }> {
  const db = new BetterSqlite(join(here.folder, 'map.sqlite'), { timeout: 5_000 });
  try {
    db.exec('BEGIN');
    const map = db.prepare('SELECT key, host, port FROM gxitproxy').all() as Route[];
    return { map, table: await activeRows() };
  } finally {
    db.close();
  }
}

/** One statement sees one moment. */
async function lookAtDatabase(): Promise<{ map: Route[]; table: Route[] }> {
  const [row] = await here.sql<{ map: Route[]; table: { id: number; host: string; port: number }[] }>(
    `SELECT (SELECT coalesce(json_agg(json_build_object('key', key, 'host', host, 'port', port)), '[]') FROM gxitproxy) AS map,
            (SELECT coalesce(json_agg(json_build_object('id', e.id, 'host', e.host, 'port', e.port)), '[]')
               FROM interactivetool_entry_point e JOIN job j ON j.id = e.job_id
              WHERE e.configured = true AND e.deleted = false AND j.state = 'running') AS "table"`,
  );
  return {
    map: row!.map,
    table: row!.table.map(({ id, host, port }) => ({ key: here.ids.encodeEntryPointId(id), host, port })),
  };
}

/** Two processes at once: each makes tools, moves them, and removes most of them; the other one's too. */
async function busyLife(processes: readonly Rest[]): Promise<void> {
  await Promise.all(
    processes.flatMap((rest, p) =>
      Array.from({ length: TOOLS_PER_PROCESS }, async (_v, n) => {
        const other = processes[(p + 1) % processes.length]!;
        const as = 'admin';
        const { id } = (
          await rest('POST', url, { as, body: { name: `${p}.${n}`, host: 'first', port: 1 + n } })
        ).body;
        await Promise.all([
          rest('PUT', `${url}/${id}`, { as, body: { host: 'second', port: 100 + n } }),
          other('PUT', `${url}/${id}`, { as, body: { host: 'third', port: 200 + n } }),
        ]);
        if (n % 3 > 0) {
          await Promise.all([rest, other].map((one) => one('DELETE', `${url}/${id}`, { as })));
        }
      }),
    ),
  );
}

async function start(galaxy: object): Promise<Rest[]> {
  const settings = { galaxy: { ...EVERYTHING.galaxy, ...galaxy } };
  const first = here.process(['serve', '--demo'], settings);
  const addresses = [await first.address()];
  addresses.push(await here.process(['serve'], settings).address());
  await first.ready(addresses[0]!);
  return addresses.map(restOf);
}

async function neverLies(
  processes: Rest[],
  look: () => Promise<{ map: Route[]; table: Route[] }>,
): Promise<void> {
  let over = false;
  let looks = 0;
  let lives = 0;
  // On a busy machine one life may be over before much of it was seen.
  const live = async (): Promise<void> => {
    do {
      await busyLife(processes);
      lives += 1;
    } while (looks <= 5);
  };
  const life = live().finally(() => {
    over = true;
  });
  while (!over) {
    const { map, table } = await look();
    expect(table).toEqual(expect.arrayContaining(map));
    looks += 1;
    // The writers get their turn: a look holds a lock.
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await life;
  const { map, table } = await look();
  const sorted = (routes: Route[]) => routes.map((route) => JSON.stringify(route)).sort();
  expect(map).toHaveLength((lives * 2 * TOOLS_PER_PROCESS) / 3);
  expect(sorted(map)).toEqual(sorted(table));
}

describe('while two processes change entry points, the session map never shows what the table does not', () => {
  it('in a SQLite file beside PostgreSQL', async () => {
    here = await Installation.production();
    await neverLies(await start({}), lookAtFile);
  });

  it('in the same PostgreSQL database', async () => {
    here = await Installation.production();
    const { database_connection } = here.galaxy;
    await neverLies(await start({ interactivetoolsproxy_map: database_connection }), lookAtDatabase);
  });

  it('in a SQLite file beside a SQLite database', async () => {
    here = await Installation.production();
    const file = join(here.folder, 'main.sqlite');
    const read = (sql: string) => {
      const db = new BetterSqlite(file, { timeout: 5_000 });
      const rows = db.prepare(sql).all();
      db.close();
      return rows as never[];
    };
    const processes = await start({ database_connection: `sqlite:///${file}` });
    Object.assign(here, { sql: async (sql: string) => read(sql) });
    await neverLies(processes, lookAtFile);
  });
});

it('what a crash left wrong in the map is put right at the next start', async () => {
  here = Installation.embedded();
  const first = await here.worker(EVERYTHING);
  const body = { name: 'x', host: 'h', port: 1 };
  const { id } = (await restOf(first.url)('POST', url, { as: 'admin', body })).body;
  const [entry] = await readMap(here);
  await first.stop();
  const db = new BetterSqlite(join(here.folder, 'map.sqlite'));
  db.exec(
    "UPDATE gxitproxy SET port = 9; INSERT INTO gxitproxy SELECT 'gone', key_type, token, host, port, info FROM gxitproxy",
  );
  db.close();
  await here.worker(EVERYTHING);
  expect(await readMap(here)).toEqual([entry]);
  expect(entry).toMatchObject({ key: id, host: 'h', port: 1 });
});
