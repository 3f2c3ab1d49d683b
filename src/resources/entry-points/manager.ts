/** The rules of entry points: who may change one, and how proxy and browsers are notified. */
import { randomBytes } from 'node:crypto';
import { LightconeError } from '../../core/errors.js';
import type { Principal } from '../../core/events.js';
import { columnValues } from '../../database/dialect.js';
import type { Database, Sql, SqlValue } from '../../database/port.js';
import type { Owner } from '../../http/auth/callers.js';
import type { OutboxWriter } from '../../outbox/writer.js';
import type { EntryPointRow } from './repository.js';
import * as repository from './repository.js';
import type { SessionMap } from './session-map.js';
import type { TargetRules } from './target-rules.js';

/** Column values of a request; undefined ones stay unchanged. */
export interface EntryPointFields {
  name?: string | undefined;
  label?: string | null | undefined;
  tool_port?: number | undefined;
  host?: string | undefined;
  port?: number | undefined;
  protocol?: string | null | undefined;
  entry_url?: string | null | undefined;
  requires_domain?: boolean | undefined;
  requires_path_in_url?: boolean | undefined;
  requires_path_in_header_named?: string | null | undefined;
  info?: object | null | undefined;
}

/** The job of the entry point: an existing one, or a new one of this owner. */
export type JobChoice = { jobId: number } | { owner: Owner; toolId: string };

type Caller = Pick<Principal, 'userId' | 'sessionId' | 'isAdmin'>;

export class EntryPointManager {
  constructor(
    private readonly db: Database,
    private readonly map: SessionMap,
    private readonly outboxWriter: OutboxWriter,
    private readonly rules: TargetRules,
  ) {}

  running(owner: Owner): Promise<EntryPointRow[]> {
    return repository.listRunning(this.db, owner);
  }

  /** @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE */
  async listByJob(caller: Caller, jobId: number): Promise<EntryPointRow[]> {
    refuseOthers(caller, await repository.findJob(this.db, jobId), 'job');
    return repository.listOfJob(this.db, jobId);
  }

  /** @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE */
  async byId(caller: Caller, id: number): Promise<EntryPointRow> {
    const row = present(await repository.find(this.db, id));
    refuseOthers(caller, row, 'entry point');
    return row;
  }

  /** @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE, ADMIN_REQUIRED, PARAMETER_INVALID */
  create(caller: Caller, job: JobChoice, fields: EntryPointFields): Promise<EntryPointRow> {
    return this.#change(async (tx) => {
      const jobId = 'jobId' in job ? job.jobId : await newJob(tx, job);
      refuseOthers(caller, await repository.findJob(tx, jobId), 'job');
      this.rules.check(caller, { ...fields });
      return repository.insert(tx, jobId, [
        // 32 hex digits, for the host names of the proxy.
        ['token', randomBytes(16).toString('hex')],
        ...valuesOf({ requires_domain: true, requires_path_in_url: false, ...fields }),
        ['configured', isConfigured(fields)],
      ]);
    });
  }

  /** @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE, ADMIN_REQUIRED, PARAMETER_INVALID */
  configure(caller: Caller, id: number, fields: EntryPointFields): Promise<EntryPointRow> {
    return this.#change(async (tx) => {
      await repository.lock(tx, [id]);
      const row = present(await repository.find(tx, id));
      refuseOthers(caller, row, 'entry point');
      this.rules.check(caller, { ...fields });
      const host = fields.host ?? row.host ?? undefined;
      const port = fields.port ?? row.port ?? undefined;
      await repository.update(tx, id, [...valuesOf(fields), ['configured', isConfigured({ host, port })]]);
      return id;
    });
  }

  /** Stops the job as well, which disables its other entry points. @throws LightconeError NOT_FOUND, NOT_ACCESSIBLE */
  async remove(caller: Caller, id: number): Promise<void> {
    const touched = await this.db.transaction(async (tx) => {
      const before = present(await repository.find(tx, id));
      refuseOthers(caller, before, 'entry point');
      const siblings = await repository.idsOfJob(tx, before.job_id);
      await repository.lock(tx, siblings);
      // Another request may have removed it first.
      present(await repository.find(tx, id));
      await repository.update(tx, id, [['deleted', true]]);
      await repository.stopJob(tx, before.job_id);
      await this.#addToOutbox(tx, before);
      await this.map.write(tx, siblings);
      return siblings;
    });
    await this.#afterCommit(touched);
  }

  /** One transaction: the row, the map if it is in the same database, and the outbox entry. */
  async #change(work: (tx: Sql) => Promise<number>): Promise<EntryPointRow> {
    const row = await this.db.transaction(async (tx) => {
      const id = await work(tx);
      const changed = (await repository.find(tx, id))!;
      await this.#addToOutbox(tx, changed);
      await this.map.write(tx, [id]);
      return changed;
    });
    await this.#afterCommit([row.id]);
    return row;
  }

  #addToOutbox(tx: Sql, { user_id: userId, session_id: sessionId }: EntryPointRow): Promise<void> {
    if (userId !== null) return this.outboxWriter.add(tx, { kind: 'entry_points', userId });
    if (sessionId !== null) return this.outboxWriter.add(tx, { kind: 'entry_points', sessionId });
    return Promise.resolve();
  }

  /** First the proxy, then the browsers: a notified browser must be able to reach the tool. */
  async #afterCommit(ids: readonly number[]): Promise<void> {
    try {
      await this.map.settle(ids);
    } finally {
      this.outboxWriter.wake();
    }
  }
}

async function newJob(tx: Sql, { owner, toolId }: { owner: Owner; toolId: string }): Promise<number> {
  if (!(await repository.ownerExists(tx, owner))) {
    throw new LightconeError('PARAMETER_INVALID', 'user_id or session_id does not exist');
  }
  return repository.insertJob(tx, owner, toolId);
}

const isConfigured = ({ host, port }: Pick<EntryPointFields, 'host' | 'port'>): boolean =>
  host !== undefined && port !== undefined;

const COLUMNS = [
  'name',
  'label',
  'tool_port',
  'host',
  'port',
  'protocol',
  'entry_url',
  'requires_domain',
  'requires_path_in_url',
  'requires_path_in_header_named',
];

function valuesOf(fields: EntryPointFields): [string, SqlValue][] {
  const values: [string, SqlValue][] = columnValues(fields, COLUMNS);
  if (fields.info !== undefined) {
    values.push(['info', fields.info === null ? null : Buffer.from(JSON.stringify(fields.info))]);
  }
  return values;
}

function present(row: EntryPointRow | undefined): EntryPointRow {
  if (!row || row.deleted === true || row.deleted === 1) {
    throw new LightconeError('NOT_FOUND', 'there is no such entry point');
  }
  return row;
}

function refuseOthers(
  { userId, sessionId, isAdmin }: Caller,
  owned: { user_id: number | null; session_id: number | null } | undefined,
  what: string,
): void {
  if (!owned) throw new LightconeError('NOT_FOUND', `there is no such ${what}`);
  const mine =
    owned.user_id === null
      ? sessionId !== undefined && owned.session_id === sessionId
      : owned.user_id === userId;
  if (!mine && !isAdmin) throw new LightconeError('NOT_ACCESSIBLE', `this ${what} belongs to another owner`);
}
