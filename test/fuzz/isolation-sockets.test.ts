/**
 * The same over sockets, PostgreSQL and RabbitMQ, through our own API: after each change of who may see what, every history
 * changes, and each tab of both workers hears of exactly those that it watches and may see: of no other, and of all of these.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/databases.js';
import { Installation, type RunningWorker } from '../support/installation.js';
import { EVERYTHING, restOf } from '../support/rest.js';
import { SseClient } from '../support/sse-client.js';
import { fuzz, inputs, type Random, report, TIMEOUT_MS } from './fuzz.js';

/** What our own API changes holds at once; the round, every 30 s, comes too late for most scenarios. */
const AT_ONCE_MS = 10_000;
const ROUNDS = 4;

let here: Installation;
let workers: RunningWorker[];

beforeAll(async () => {
  here = await Installation.production();
  const settings = {
    galaxy: EVERYTHING.galaxy!,
    sse: { api_rate_limit: 0, permission_check_interval: 30, debounce: 0 },
  };
  workers = [await here.worker(settings), await here.worker(settings)];
});
afterAll(() => here.close());

interface User {
  id: number;
  name: string;
}
interface Session {
  id: number;
  headers: { cookie: string };
  user: User | undefined;
  valid: boolean;
  history: number;
}
interface History {
  id: number;
  owner: User | undefined;
  session: Session | undefined;
  open: boolean;
  sharedWith: Set<User>;
}
/** Who calls: a user with its key, or a session with its cookie. */
type Caller = { user: User; session?: undefined } | { user?: undefined; session: Session };
interface Listener {
  client: SseClient;
  worker: RunningWorker;
  caller: Caller;
  /** As it was when the stream was opened: a stream does not become somebody else's. */
  user: User | undefined;
  /** By its own URL. */
  viewed: Set<number>;
  from: number;
}

class Scenario {
  private readonly users: User[] = [];
  private readonly sessions: Session[] = [];
  private readonly histories: History[] = [];
  private listeners: Listener[] = [];
  /** Of each worker, what users and sessions look at: as long as they have a tab there. */
  private readonly subscribed = new Map<RunningWorker, Map<User | Session, Set<number>>>(
    workers.map((worker) => [worker, new Map()]),
  );
  readonly log: string[] = [];
  heard = 0;

  constructor(
    private readonly random: Random,
    private readonly name: string,
  ) {}

  async run(): Promise<void> {
    await this.found();
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let step = 2 + this.random.below(7); step > 0; step -= 1) {
        const act = this.random.pick(STEPS);
        this.log.push(act.name);
        await act.call(this);
        await this.settle();
      }
      await this.changeAll();
    }
    for (const { client } of this.listeners) client.close();
  }

  private async found(): Promise<void> {
    for (const i of [0, 1]) {
      const name = `${this.name}u${i}`;
      const [user] = await here.sql<{ id: number }>(
        `INSERT INTO galaxy_user (create_time, update_time, email, username, password, external, deleted, purged, active)
         SELECT create_time, update_time, '${name}@example.org', '${name}', password, false, false, false, true
           FROM galaxy_user WHERE email = 'alice@example.org' RETURNING id`,
      );
      await here.sql(
        `INSERT INTO api_keys (create_time, user_id, key, deleted) VALUES ('2026-01-01', ${user!.id}, '${name}', false)`,
      );
      this.users.push({ id: user!.id, name });
    }
    for (const user of [this.users[0]!, this.users[0]!, this.users[1]!]) {
      const { status, body } = await this.ask({ user }, 'POST', '/api/histories', { name: 'h' });
      expect(status).toBe(200);
      this.add(here.ids.decodeId(body.id)!, user, undefined);
    }
    for (let i = 0; i < 2; i += 1) {
      const { headers, body } = await restOf(workers[i]!.url)('POST', '/api/sessions');
      const history = here.ids.decodeId(body.id)!;
      const session = await this.sessionOf(headers, undefined, history);
      this.add(history, undefined, session);
    }
  }

  private add(id: number, owner: User | undefined, session: Session | undefined): void {
    this.histories.push({ id, owner, session, open: false, sharedWith: new Set() });
  }

  private async sessionOf(answer: Headers, user: User | undefined, history: number): Promise<Session> {
    const cookie = answer.get('set-cookie')!.split(';')[0]!;
    const key = here.ids.decodeSessionKey(cookie.split('=')[1]!);
    const [row] = await here.sql<{ id: number }>(
      `SELECT id FROM galaxy_session WHERE session_key = '${key}'`,
    );
    const session = { id: row!.id, headers: { cookie }, user, valid: true, history };
    this.sessions.push(session);
    return session;
  }

  private ask(caller: Caller, method: string, path: string, body?: unknown) {
    const headers = caller.user ? { 'x-api-key': caller.user.name } : caller.session.headers;
    return restOf(this.random.pick(workers).url)(method, path, {
      headers,
      ...(body !== undefined && { body }),
    });
  }

  // --- who may see what, from section 1.2 of the contract -------------------------------------------------------------

  private maySee(user: User | undefined, session: Session | undefined, history: History): boolean {
    if (history.open) return true;
    if (user) return history.owner === user || history.sharedWith.has(user);
    return session?.valid === true && !history.owner && history.session === session;
  }

  private userOf({ user, session }: Caller): User | undefined {
    return user ?? (session!.valid ? session!.user : undefined);
  }

  private callerMaySee(caller: Caller, history: History): boolean {
    return this.maySee(this.userOf(caller), caller.session, history);
  }

  private hears({ worker, caller, user, viewed }: Listener, history: History): boolean {
    if (!this.maySee(user, caller.session, history)) return false;
    if (user ? history.owner === user : !history.owner && history.session === caller.session) return true;
    const looksAt = this.subscribed.get(worker)!.get(user ?? caller.session!);
    return viewed.has(history.id) || looksAt?.has(history.id) === true;
  }

  // --- the steps ------------------------------------------------------------------------------------------------------

  private caller(): Caller {
    const valid = this.sessions.filter((session) => session.valid);
    return this.random.chance(0.5) || valid.length === 0
      ? { user: this.random.pick(this.users) }
      : { session: this.random.pick(valid) };
  }

  async openStream(): Promise<void> {
    const [caller, worker] = [this.caller(), this.random.pick(workers)];
    const viewed = this.random.many(2, () => this.random.pick(this.histories));
    const query = viewed.map(({ id }) => `history_id=${here.encode(id)}`).join('&');
    const headers = caller.user ? { 'x-api-key': caller.user.name } : caller.session.headers;
    const client = await SseClient.open(`${worker.url}/api/events/stream?${query}`, { headers });
    if (viewed.some((history) => !this.callerMaySee(caller, history))) {
      await client.ended();
      expect(client.status, this.log.join('\n')).toBe(403);
      return;
    }
    await client.waitFor(({ event }) => event === 'ready');
    const user = this.userOf(caller);
    const ids = new Set(viewed.map(({ id }) => id));
    this.listeners.push({ client, worker, caller, user, viewed: ids, from: 0 });
  }

  async closeStream(): Promise<void> {
    const listener = this.listeners[this.random.below(this.listeners.length)];
    if (!listener) return;
    listener.client.close();
    // What the holder looked at there is forgotten with its last tab.
    this.drop((it) => it === listener);
  }

  private drop(isGone: (listener: Listener) => boolean): void {
    this.listeners = this.listeners.filter((it) => !isGone(it));
    for (const [worker, holders] of this.subscribed)
      for (const holder of holders.keys()) if (!this.hasTab(worker, holder)) holders.delete(holder);
  }

  private hasTab(worker: RunningWorker, holder: User | Session): boolean {
    return this.listeners.some((it) => it.worker === worker && (it.user ?? it.caller.session) === holder);
  }

  private async placesFit(): Promise<void> {
    const count = (worker: RunningWorker, holder: User | Session): number =>
      this.listeners.filter((it) => it.worker === worker && (it.user ?? it.caller.session) === holder).length;
    const open = (worker: RunningWorker, holder: User | Session): number => {
      const { registry } = worker.worker.manager;
      if ('name' in holder) return registry.countOfUser(holder.id);
      let tabs = 0;
      for (let tab = registry.firstOfSession(holder.id); tab; tab = tab.nextOfSession) tabs += 1;
      return tabs;
    };
    const holders = [...this.users, ...this.sessions.filter(({ user }) => !user)];
    await eventually(
      () => workers.every((worker) => holders.every((it) => open(worker, it) === count(worker, it))),
      { within: AT_ONCE_MS, what: `the streams of those who may have one\n${this.log.join('\n')}` },
    );
  }

  async watch(): Promise<void> {
    const [caller, history] = [this.caller(), this.random.pick(this.histories)];
    const off = this.random.chance(0.2);
    const body = { history_ids: [here.encode(history.id)] };
    const { status } = await this.ask(
      caller,
      off ? 'DELETE' : 'POST',
      '/api/events/history-subscriptions',
      body,
    );
    const granted = off || this.callerMaySee(caller, history);
    expect(status, this.log.join('\n')).toBe(granted ? 204 : 403);
    if (!granted) return;
    const holder = this.userOf(caller) ?? caller.session!;
    for (const [worker, holders] of this.subscribed) {
      if (!this.hasTab(worker, holder)) continue;
      const looksAt = holders.get(holder) ?? new Set();
      holders.set(holder, looksAt);
      if (off) looksAt.delete(history.id);
      else looksAt.add(history.id);
    }
  }

  async share(): Promise<void> {
    const history = this.random.pick(this.histories.filter(({ owner }) => owner));
    const user = this.random.pick(this.users);
    if (user === history.owner) return;
    if (!history.sharedWith.delete(user)) history.sharedWith.add(user);
    await this.asOwner(history, 'share_with_users', {
      user_ids: [...history.sharedWith].map(({ name }) => `${name}@example.org`),
    });
  }

  async openHistory(): Promise<void> {
    const history = this.random.pick(this.histories.filter(({ owner }) => owner));
    history.open = !history.open;
    const by = history.open ? ['publish', 'enable_link_access'] : ['unpublish', 'disable_link_access'];
    for (const path of history.open ? [this.random.pick(by)] : by) await this.asOwner(history, path);
  }

  private async asOwner({ id, owner }: History, path: string, body?: unknown): Promise<void> {
    const answer = await this.ask({ user: owner! }, 'PUT', `/api/histories/${here.encode(id)}/${path}`, body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  }

  async login(): Promise<void> {
    const session = this.sessions.find((it) => it.valid && !it.user);
    if (!session) return;
    const user = this.random.pick(this.users);
    const body = { login: user.name, password: 'demo-alice' };
    const answer = await this.ask({ session }, 'POST', '/api/login', body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    for (const history of this.histories) {
      if (history.owner || history.session !== session) continue;
      history.owner = user;
      history.session = undefined;
    }
    session.valid = false;
    await this.sessionOf(answer.headers, user, session.history);
  }

  async logout(): Promise<void> {
    const session = this.random.pick(this.sessions);
    if (!session.valid) return;
    expect((await this.ask({ session }, 'POST', '/api/logout')).status).toBe(204);
    session.valid = false;
  }

  // --- what must hold -------------------------------------------------------------------------------------------------

  /** Until each worker has heard of what our API changed: streams of sessions that are over end, nobody watches what it may not. */
  private async settle(): Promise<void> {
    for (const { client, caller } of this.listeners)
      if (caller.session?.valid === false) expect(await client.ended(AT_ONCE_MS)).toBe('end');
    this.drop(({ caller }) => caller.session?.valid === false);
    await this.placesFit();
    for (const history of this.histories) {
      for (const it of this.listeners)
        if (!this.maySee(it.user, it.caller.session, history)) it.viewed.delete(history.id);
      for (const holders of this.subscribed.values())
        for (const [holder, looksAt] of holders) {
          const [user, session] = 'name' in holder ? [holder, undefined] : [undefined, holder];
          if (!this.maySee(user, session, history)) looksAt.delete(history.id);
        }
    }
    await eventually(() => workers.every((worker) => this.viewersAreAllowed(worker)), {
      within: AT_ONCE_MS,
      what: `the end of what may not be watched any more\n${this.log.join('\n')}`,
    });
  }

  private viewersAreAllowed(worker: RunningWorker): boolean {
    return this.histories.every((history) => {
      const viewers = worker.worker.manager.viewers.get(history.id);
      if (!viewers) return true;
      const userOf = (id: number | undefined) => this.users.find((it) => it.id === id);
      const sessionOf = (id: number | undefined) => this.sessions.find((it) => it.id === id);
      return (
        [...viewers.users].every((id) => this.maySee(userOf(id), undefined, history)) &&
        [...viewers.sessions].every((id) => this.maySee(undefined, sessionOf(id), history)) &&
        [...viewers.tabs].every(({ principal: { userId, sessionId } }) =>
          this.maySee(userOf(userId), sessionOf(sessionId), history),
        )
      );
    });
  }

  /** Another program changes everything; then one more history, whose events come behind all others. */
  private async changeAll(): Promise<void> {
    const witnesses = await Promise.all(
      workers.map(({ url }) => SseClient.ready(`${url}/api/events/stream?key=${this.users[0]!.name}`)),
    );
    for (const it of this.listeners) it.from = it.client.frames.length;
    const ids = this.histories.map(({ id }) => id);
    await here.sql(`UPDATE history SET name = 'changed' WHERE id IN (${ids.join(', ')})`);
    const [last] = await here.sql<{ id: number }>(
      `INSERT INTO history (user_id, name, deleted, importable, published)
       VALUES (${this.users[0]!.id}, 'last', false, false, false) RETURNING id`,
    );
    const isBehind = here.encode(last!.id);
    const owners = this.listeners.filter(({ user }) => user === this.users[0]).map(({ client }) => client);
    for (const client of [...witnesses, ...owners])
      await client.waitForHistory(isBehind, { within: 15_000 }).catch((error) => {
        throw new Error(`${error.message}\n${this.log.join('\n')}`);
      });
    for (const client of witnesses) client.close();
    for (const it of this.listeners) await this.judge(it, new Set([isBehind]));
    await this.placesFit();
  }

  private async judge(listener: Listener, ofNobodyHere: ReadonlySet<string>): Promise<void> {
    const { client, from, user, caller } = listener;
    const expected = this.histories
      .filter((history) => this.hears(listener, history))
      .map(({ id }) => here.encode(id))
      .sort();
    const heard = (): string[] => {
      const named = client
        .events('history_update', from)
        .flatMap(({ data }) => (JSON.parse(data!) as { history_ids: string[] }).history_ids);
      return [...new Set(named)].filter((id) => !(user === this.users[0] && ofNobodyHere.has(id))).sort();
    };
    // A socket of its own: what the worker has written may still be on its way.
    await eventually(() => heard().length >= expected.length, {
      within: 5_000,
      what: 'what it may hear',
    }).catch(() => {});
    const who = `${user?.name ?? `session ${caller.session!.id}`}\n${this.log.join('\n')}`;
    expect(heard(), who).toEqual(expected);
    this.heard += expected.length;
  }
}

const { prototype: act } = Scenario;
const STEPS: readonly ((this: Scenario) => Promise<void>)[] = [
  ...[act.openStream, act.openStream, act.openStream, act.watch, act.watch, act.share, act.share],
  ...[act.openHistory, act.openHistory, act.closeStream, act.login, act.logout],
];

describe('two workers, over sockets', () => {
  it('tell each tab exactly what it watches and may see', { timeout: TIMEOUT_MS }, async () => {
    let number = 0;
    let heard = 0;
    const tally = await fuzz(
      inputs(16, 1_000),
      async (random, seen) => {
        number += 1;
        const scenario = new Scenario(random, `s${number}x`);
        seen(scenario.log);
        await scenario.run();
        heard += scenario.heard;
      },
      { atOnce: 4, salt: 17 },
    );
    expect(heard).toBeGreaterThan(tally.inputs);
    report('isolation over sockets', tally, `${heard} histories told to streams`);
  });
});
