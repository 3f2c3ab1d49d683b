/**
 * Nobody is told what does not concern them: random users, sessions, histories, shares and their removal, viewers, logins and
 * events over two workers. What each tab may hear is kept in a model of its own, written from the contract and not from the code.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InProcessBus } from '../../src/bus/in-process/bus.js';
import { ConnectionManager } from '../../src/connections/manager.js';
import type { PermissionCheck } from '../../src/connections/tabs/permissions.js';
import type { Tab } from '../../src/connections/tabs/tab.js';
import type { Cursor, Principal } from '../../src/core/events.js';
import { toTasks } from '../../src/core/history-tasks.js';
import { SqlAccounts } from '../../src/database/accounts.js';
import { SqlChangeLog } from '../../src/database/change-log.js';
import { migrate } from '../../src/database/schema.js';
import { SqliteDatabase } from '../../src/database/sqlite/database.js';
import { EVENTS } from '../../src/events/registry.js';
import { GalaxyAuthenticator } from '../../src/http/auth/galaxy-authenticator.js';
import { IdCodec } from '../../src/http/auth/id-codec.js';
import { systemClock } from '../../src/lib/clock.js';
import { createLogger } from '../../src/telemetry/logger.js';
import { noMetrics } from '../../src/telemetry/metrics.js';
import { fuzz, inputs, type Random, report, TIMEOUT_MS } from './fuzz.js';

const logger = createLogger('silent');
const ids = new IdCodec('the secret of the tests');
const encodeId = (id: number): string => ids.encodeId(id);
const decodeId = (text: string): number | undefined => ids.decodeId(text);
const USERS = 2;
const SESSIONS = 2;
const HISTORIES = 4;

let folder: string;
let db: SqliteDatabase;
let bus: InProcessBus;
let accounts: SqlAccounts;
let changeLog: SqlChangeLog;
let workers: ConnectionManager[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-isolation-'));
  db = new SqliteDatabase({ file: join(folder, 'x.sqlite'), logger });
  await db.start();
  await migrate(db, logger);
  // Nothing here has to outlive a crash.
  await db.all('PRAGMA synchronous = OFF');
  accounts = new SqlAccounts(db, { standalone: true });
  changeLog = new SqlChangeLog(db);
  bus = new InProcessBus({ logger, metrics: noMetrics, clock: systemClock });
  workers = [newWorker(), newWorker()];
  bus.subscribe({
    onTask: (task) => {
      for (const worker of workers) worker.onTask(task);
    },
    onTick: (tick) => {
      for (const worker of workers) worker.onTick(tick);
    },
    onGap: (cause) => {
      for (const worker of workers) worker.onGap(cause);
    },
  });
  await bus.start();
  for (const worker of workers) await worker.start();
});
afterAll(async () => {
  for (const worker of workers) await worker.stop();
  await bus.stop();
  await db.stop();
  rmSync(folder, { recursive: true });
});

/** As `app/processes/worker.ts` puts it together; permissions are checked when a scenario says so. */
function newWorker(): ConnectionManager {
  const authenticator = newAuthenticator();
  return new ConnectionManager({
    kinds: EVENTS,
    config: {
      enabled: true,
      attachToGalaxy: false,
      workers: 2,
      keepaliveSeconds: 30,
      queueSize: 4,
      debounceMs: 0,
      heartbeatSeconds: 5,
      pollIntervalSeconds: 2,
      recentWindowSeconds: 900,
      rowClockSeconds: 10,
      maxConnections: 1000,
      maxConnectionsPerUser: 1000,
      maxConnectionsPerAddress: 0,
      drainTimeoutSeconds: 1,
      writeTimeoutSeconds: 600,
      permissionCheckSeconds: 1_000_000_000,
      nodeInternals: true,
    },
    changeLog,
    positions: { entries: async () => [] },
    notifications: undefined,
    returning: { changeLog, notifications: undefined },
    permissions: {
      revoked: async (principals) => {
        const valid = await authenticator.recheck(principals);
        return new Set(principals.filter((principal) => !valid.has(principal)));
      },
      accessible: (questions) => accounts.accessibleToEach(questions),
    },
    subscribed: () => bus.subscribed,
    encodeId,
    decodeId,
    clock: systemClock,
    random: Math.random,
    logger,
    metrics: noMetrics,
  });
}

/** Remembers nobody for longer than one request, so that what it says is what the database says. */
const newAuthenticator = (): GalaxyAuthenticator =>
  new GalaxyAuthenticator({
    accounts,
    idCodec: ids,
    auth: { adminUsers: [], apiAllowRunAs: [], bootstrapAdminApiKey: undefined },
    clock: systemClock,
  });

// --- the model -------------------------------------------------------------------------------------------------------

interface User {
  id: number;
  key: string;
  valid: boolean;
}
interface Session {
  id: number;
  key: string;
  userId: number | undefined;
  valid: boolean;
}
interface History {
  id: number;
  owner: number | undefined;
  session: number | undefined;
  open: boolean;
  sharedWith: Set<number>;
}
/** An open stream, and what it has heard. */
interface Listener {
  worker: ConnectionManager;
  principal: Principal;
  tab: Tab;
  heard: string;
  read: number;
  /** What it may be told: what its holder may see now, or could until the last check of permissions. */
  allowed: Set<number>;
  closed: boolean;
}

class Scenario {
  private readonly users: User[] = [];
  private readonly sessions: Session[] = [];
  private readonly histories: History[] = [];
  private listeners: Listener[] = [];
  private cursor: Cursor = 0;
  private readonly authenticator = newAuthenticator();
  private readonly cursors: Cursor[] = [];
  events = 0;
  readonly log: string[] = [];

  constructor(
    private readonly random: Random,
    private readonly name: string,
  ) {}

  async run(): Promise<void> {
    await this.found();
    this.cursor = await db.now();
    this.cursors.push(this.cursor - 60_000_000);
    for (let step = 10 + this.random.below(20); step > 0; step -= 1) {
      const [what, act] = this.random.pick(STEPS);
      this.log.push(what);
      await act.call(this);
      await this.judge();
    }
    for (const { tab, worker } of this.listeners) worker.close(tab, 'drained');
  }

  /** Everybody and everything of this scenario; what others left lies still. */
  private async found(): Promise<void> {
    for (let i = 0; i < USERS; i += 1) {
      const key = `${this.name}u${i}`;
      const id = await insert('galaxy_user (email, username, password, active, deleted)', [
        key,
        key,
        '!',
        1,
        0,
      ]);
      await insert('api_keys (user_id, key, deleted, create_time)', [id, key, 0, '2026-01-01 00:00:00']);
      this.users.push({ id, key, valid: true });
    }
    for (let i = 0; i < HISTORIES; i += 1) {
      const owner = i < SESSIONS ? undefined : this.users[0]!.id;
      const id = await insert('history (user_id, name, deleted, importable, published)', [
        owner ?? null,
        'h',
        0,
        0,
        0,
      ]);
      this.histories.push({ id, owner, session: undefined, open: false, sharedWith: new Set() });
    }
    for (let i = 0; i < SESSIONS; i += 1) {
      const key = Buffer.from(`${this.name}${i}`).toString('hex');
      const history = this.histories[i]!;
      const id = await insert('galaxy_session (session_key, user_id, is_valid, current_history_id)', [
        key,
        null,
        1,
        history.id,
      ]);
      await insert('galaxy_session_to_history (session_id, history_id)', [id, history.id]);
      history.session = id;
      this.sessions.push({ id, key, userId: undefined, valid: true });
    }
  }

  /** Section 1.2 of the contract, and who is told of a history as its owner. */
  private maySee({ userId, sessionId }: Principal, history: History): boolean {
    if (history.open) return true;
    const session = this.sessions.find(({ id }) => id === sessionId);
    // An anonymous session that has signed in is the user's; the next check ends the stream that is still called anonymous.
    const holder = userId ?? session?.userId;
    if (holder !== undefined) return history.owner === holder || history.sharedWith.has(holder);
    // Whether it is valid still is the check's business: until then it is remembered.
    return session !== undefined && history.owner === undefined && history.session === sessionId;
  }

  private isValid({ credential, userId }: Principal): boolean {
    if (credential.kind === 'none') return true;
    const user = this.users.find(({ id }) => id === userId);
    if (credential.kind === 'api_key') return user?.valid === true;
    const session =
      credential.kind === 'session' && this.sessions.find(({ id }) => id === credential.sessionId);
    return session !== false && session?.valid === true && session.userId === userId && (user?.valid ?? true);
  }

  private visible(principal: Principal): Set<number> {
    return new Set(this.histories.filter((it) => this.maySee(principal, it)).map(({ id }) => id));
  }

  /** What a user or session looks at, all its tabs look at: a new one has the others' past until the next check. */
  private inherited(principal: Principal): Set<number> {
    const { userId, sessionId } = principal;
    const others = this.listeners.filter(
      ({ principal: other }) =>
        (userId !== undefined && other.userId === userId) ||
        (sessionId !== undefined && other.sessionId === sessionId),
    );
    return new Set([...this.visible(principal), ...others.flatMap(({ allowed }) => [...allowed])]);
  }

  private async judge(): Promise<void> {
    for (let turn = 0; turn < 4; turn += 1) await nextTurn();
    for (const it of this.listeners) {
      for (const id of this.visible(it.principal)) it.allowed.add(id);
      const news = it.heard.slice(it.read);
      it.read = it.heard.length;
      for (const [, text] of news.matchAll(/event: history_update\ndata: (.*)\n/g))
        for (const encoded of (JSON.parse(text!) as { history_ids: string[] }).history_ids) {
          this.events += 1;
          this.expected(it, it.allowed.has(decodeId(encoded)!), `history ${decodeId(encoded)}`);
        }
      for (const [, text] of news.matchAll(/event: notification_update\ndata: (.*)\n/g)) {
        this.events += 1;
        const { to } = JSON.parse(text!) as { to: number[] };
        this.expected(it, it.principal.userId !== undefined && to.includes(it.principal.userId), text!);
      }
      for (const [, text] of news.matchAll(/event: entry_point_update\ndata: (.*)\n/g))
        this.expected(it, this.haveTools.has(it.principal.userId), `entry points: ${text}`);
    }
  }
  private readonly haveTools = new Set<number | undefined>();

  /** Mostly the same one, so that what happens to it adds up to something. */
  private one<T>(of: readonly T[]): T {
    return this.random.chance(0.7) ? of[of.length - 1]! : this.random.pick(of);
  }

  private expected({ principal, allowed }: Listener, isRight: boolean, what: string): void {
    if (isRight) return;
    const who = JSON.stringify(principal);
    throw new Error(`${who} is told of ${what}, may hear ${[...allowed]}\n${this.log.join('\n')}`);
  }

  // --- the steps -------------------------------------------------------------------------------------------------------

  private async whoever(): Promise<Principal | undefined> {
    const user = this.random.chance(0.5) ? this.one(this.users) : undefined;
    const session = this.random.chance(0.7) ? this.one(this.sessions) : undefined;
    const headers: Record<string, string> = {};
    if (user) headers['x-api-key'] = user.key;
    if (session) headers.cookie = `galaxysession=${ids.encodeSessionKey(session.key)}`;
    // What it remembers of others is five seconds old at most in the product; here it is new each time.
    const authenticator = this.random.chance(0.2) ? this.authenticator : newAuthenticator();
    return authenticator.authenticate({ headers, query: {} }).catch(() => undefined);
  }

  async open(): Promise<void> {
    const principal = await this.whoever();
    if (principal === undefined) return;
    const viewed = this.random.many(2, () => this.one(this.histories).id);
    const accessible = await accounts.accessibleHistories(principal, viewed);
    // The route answers 403.
    if (viewed.some((id) => !accessible.has(id))) return;
    const worker = this.random.pick(workers);
    const listener: Listener = {
      worker,
      principal,
      tab: undefined as unknown as Tab,
      heard: '',
      read: 0,
      allowed: this.inherited(principal),
      closed: false,
    };
    const out = new Writable({
      write: (bytes: Buffer, _encoding, done) => {
        listener.heard += bytes.toString();
        done();
      },
    });
    out.on('close', () => {
      listener.closed = true;
      worker.gone(listener.tab, 'client');
    });
    const since = this.random.chance(0.6) ? this.random.pick(this.cursors) : undefined;
    listener.tab = worker.open({ out, chunked: false, head: '', principal, since, viewed });
    this.listeners.push(listener);
    this.log.push(`  ${JSON.stringify(principal)} views ${viewed} since ${since}`);
    // Its catch-up.
    for (let turn = 0; turn < 20 && listener.tab.state === 'catching_up'; turn += 1) await nextTurn();
  }

  async leave(): Promise<void> {
    const { listeners } = this;
    const it = listeners[this.random.below(listeners.length)];
    if (!it) return;
    it.tab.out.destroy();
    this.listeners = listeners.filter((other) => other !== it);
  }

  async change(): Promise<void> {
    const history = this.one(this.histories);
    await db.run(`UPDATE history SET name = $1, update_time = ${NOW} WHERE id = $2`, [
      String(this.random.next()),
      history.id,
    ]);
    this.log.push(`  history ${history.id}`);
    if (this.random.chance(0.8)) await this.monitor();
  }

  /** What the monitor does at a hint. */
  async monitor(): Promise<void> {
    const until = await db.now();
    for (const task of toTasks(await changeLog.changesSince(this.cursor - 1, { kind: 'all' })))
      await bus.publish(task);
    this.cursor = until;
    this.cursors.push(until);
  }

  async share(): Promise<void> {
    const history = this.one(this.histories);
    const user = this.one(this.users);
    if (history.sharedWith.has(user.id)) {
      await db.run('DELETE FROM history_user_share_association WHERE history_id = $1 AND user_id = $2', [
        history.id,
        user.id,
      ]);
      history.sharedWith.delete(user.id);
    } else {
      await insert('history_user_share_association (history_id, user_id)', [history.id, user.id]);
      history.sharedWith.add(user.id);
    }
    this.log.push(`  history ${history.id}: ${[...history.sharedWith]}`);
  }

  async publishHistory(): Promise<void> {
    const history = this.one(this.histories);
    history.open = !history.open;
    const column = this.random.pick(['importable', 'published']);
    const values = history.open ? `${column} = 1` : 'importable = 0, published = 0';
    await db.run(`UPDATE history SET ${values} WHERE id = $1`, [history.id]);
    this.log.push(`  history ${history.id}: ${history.open}`);
  }

  /** What the subscription route does. */
  async subscribe(): Promise<void> {
    const principal = await this.whoever();
    if (principal === undefined || (principal.userId === undefined && principal.sessionId === undefined))
      return;
    const { id } = this.one(this.histories);
    const off = this.random.chance(0.2);
    if (!off && !(await accounts.accessibleHistories(principal, [id])).has(id)) return;
    const { userId, sessionId } = principal;
    await bus.publish({
      task: off ? 'unsubscribe_history_viewer' : 'subscribe_history_viewer',
      historyId: encodeId(id),
      ...(userId !== undefined && { userId }),
      ...(sessionId !== undefined && { sessionId }),
    });
    this.log.push(`  ${userId}/${sessionId} ${off ? 'leaves' : 'views'} ${id}`);
  }

  async notify(): Promise<void> {
    const to = this.random.many(2, () => this.one(this.users).id);
    await bus.publish({ task: 'notify_users', userIds: to, payload: JSON.stringify({ to }) });
  }

  async entryPoint(): Promise<void> {
    const { id } = this.one(this.users);
    this.haveTools.add(id);
    await bus.publish({ task: 'entry_point_update', userId: id });
  }

  async login(): Promise<void> {
    const session = this.one(this.sessions);
    const user = this.one(this.users);
    if (!session.valid || session.userId !== undefined) return;
    session.userId = user.id;
    await db.run('UPDATE galaxy_session SET user_id = $1 WHERE id = $2', [user.id, session.id]);
    for (const history of this.histories) {
      if (history.owner !== undefined || history.session !== session.id) continue;
      history.owner = user.id;
      await db.run('UPDATE history SET user_id = $1 WHERE id = $2', [user.id, history.id]);
    }
    this.log.push(`  session ${session.id} is user ${user.id}`);
  }

  async logout(): Promise<void> {
    const session = this.one(this.sessions);
    session.valid = false;
    await db.run('UPDATE galaxy_session SET is_valid = 0 WHERE id = $1', [session.id]);
    this.log.push(`  session ${session.id}`);
  }

  async revoke(): Promise<void> {
    const user = this.one(this.users);
    user.valid = false;
    const text = this.random.chance(0.5)
      ? 'UPDATE api_keys SET deleted = 1 WHERE user_id = $1'
      : 'UPDATE galaxy_user SET deleted = 1 WHERE id = $1';
    await db.run(text, [user.id]);
    if (text.includes('api_keys'))
      await db.run('UPDATE galaxy_user SET deleted = 1 WHERE id = $1', [user.id]);
    this.log.push(`  user ${user.id}`);
  }

  /** What happens within a minute in any case: from here on the past does not count. */
  async check(): Promise<void> {
    for (const worker of workers) {
      const { permissionCheck } = worker as unknown as { permissionCheck: PermissionCheck };
      permissionCheck.begin(1);
      await permissionCheck.step();
    }
    await this.judge();
    for (const it of this.listeners) {
      if (!this.isValid(it.principal) && it.tab.state !== 'closed')
        throw new Error(`a stream of ${JSON.stringify(it.principal)} outlives it\n${this.log.join('\n')}`);
      it.allowed = this.visible(it.principal);
    }
    this.listeners = this.listeners.filter(({ tab }) => tab.state !== 'closed');
  }
}

type Step = [what: string, act: (this: Scenario) => Promise<void>];
const often = (times: number, ...step: Step): Step[] => Array.from({ length: times }, () => step);
const { prototype: act } = Scenario;
const STEPS: readonly Step[] = [
  ...often(5, 'somebody opens a tab', act.open),
  ...often(6, 'a history changes', act.change),
  ...often(2, 'the monitor looks', act.monitor),
  ...often(3, 'a share is given or taken', act.share),
  ...often(2, 'a history is opened or closed', act.publishHistory),
  ...often(4, 'somebody looks at a history', act.subscribe),
  ...often(3, 'permissions are checked', act.check),
  ['a notification', act.notify],
  ['an entry point', act.entryPoint],
  ['a tab closes', act.leave],
  ['a session signs in', act.login],
  ['a session signs out', act.logout],
  ['an account ends', act.revoke],
];

const NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')";
async function insert(into: string, values: readonly (string | number | null)[]): Promise<number> {
  const marks = values.map((_, i) => `$${i + 1}`).join(', ');
  const [row] = await db.all<{ id: number }>(`INSERT INTO ${into} VALUES (${marks}) RETURNING id`, values);
  return row!.id;
}

describe('two workers', () => {
  it('tell each tab what its holder may see, and nothing else', { timeout: TIMEOUT_MS }, async () => {
    let number = 0;
    let events = 0;
    const tally = await fuzz(
      inputs(200, 10_000),
      async (random, seen) => {
        number += 1;
        const scenario = new Scenario(random, `s${number}x`);
        seen(scenario.log);
        await scenario.run();
        events += scenario.events;
      },
      { salt: 13 },
    );
    expect(events).toBeGreaterThan(tally.inputs);
    report('isolation', tally, `${events} events`);
  });
});
