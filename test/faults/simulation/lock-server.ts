/** The database as the election sees it: one lock, the heartbeat rows, a clock that may be set; and the ways to it. */
import type {
  LeaderLock,
  LockHolder,
  WorkerProcesses,
  WorkerProcessRow,
} from '../../../src/database/port.js';
import type { SimProcess, SimulatedTime } from './time.js';

/** `away`: refused at once. `silent`: nothing comes through, in either direction. */
export type Way = 'up' | 'away' | 'silent';

const POOL_ANSWER_MS = 10_000;
const LOCK_ANSWER_MS = 2_000;
const LATENCY_MS = 20;

/** What one process has of the database. */
export class Access {
  way: Way = 'up';
  /** New sessions are refused; those that are there go on. */
  full = false;

  constructor(
    readonly time: SimulatedTime,
    readonly process: SimProcess,
  ) {}

  /** Runs `work` on the server; the answer is code of this process. */
  ask<T>(work: () => T, answerMs: number): Promise<T> {
    const { time, process } = this;
    return new Promise((resolve, reject) => {
      const fail = (reason: string, afterMs: number) =>
        time.after(afterMs, process, () => reject(new Error(reason)));
      if (this.way === 'away') {
        fail('connection refused', 1);
        return;
      }
      fail('no answer', answerMs);
      if (this.way === 'silent') return;
      time.after(this.latency(), undefined, () => {
        if (this.way !== 'up') return;
        const result = work();
        time.after(this.latency(), process, () => this.way === 'up' && resolve(result));
      });
    });
  }

  latency(): number {
    return this.time.between(1, LATENCY_MS);
  }
}

interface Session {
  access: Access;
  heardAt: number;
  open: boolean;
  onEnd: (reason: string) => void;
}

export class LockServer {
  /** What the database's clock is off by, in microseconds. */
  clockOffset = 0;
  private holder: Session | undefined;
  private readonly rows = new Map<string, WorkerProcessRow>();

  constructor(
    readonly time: SimulatedTime,
    readonly silenceMs: number,
  ) {}

  now(): number {
    return this.time.now() + this.clockOffset;
  }

  createLock(access: Access, label: string): LeaderLock {
    return new SimLock(this, access, label);
  }

  /** As pg_try_advisory_xact_lock, in a new session. */
  take(session: Session): boolean {
    if (this.holder) return false;
    this.holder = session;
    this.hear(session);
    return true;
  }

  hear(session: Session): boolean {
    if (!session.open || this.holder !== session) return false;
    session.heardAt = this.time.ms;
    this.time.after(this.silenceMs + 1, undefined, () => {
      if (this.time.ms - session.heardAt >= this.silenceMs) this.end(session, 'idle-in-transaction timeout');
    });
    return true;
  }

  /** @param told whether the other side hears of it */
  end(session: Session, reason: string, told = session.access.way === 'up'): void {
    if (!session.open) return;
    session.open = false;
    if (this.holder === session) this.holder = undefined;
    const { access } = session;
    if (told) this.time.after(access.latency(), access.process, () => session.onEnd(reason));
  }

  /** Connections were reset, or their process has ended. */
  reset(access: Access): void {
    if (this.holder?.access === access) this.end(this.holder, 'connection reset', true);
  }

  /** Another server takes the place of this one, without its locks; who holds a connection does not hear of it. */
  failOver(): void {
    if (this.holder) this.end(this.holder, 'fail-over', false);
  }

  workerProcesses(access: Access): WorkerProcesses {
    const key = (row: { serverName: string; hostname: string }) => `${row.serverName}@${row.hostname}`;
    const active = (activeMs: number) => ({
      now: this.now(),
      active: [...this.rows.values()].filter((row) => row.updateTime > this.now() - activeMs * 1000),
    });
    return {
      beat: (self, activeMs) =>
        access.ask(() => {
          this.rows.set(key(self), { ...self, updateTime: this.now() });
          return active(activeMs);
        }, POOL_ANSWER_MS),
      active: (activeMs) => access.ask(() => active(activeMs), POOL_ANSWER_MS),
      remove: (self) =>
        access.ask(() => {
          if (this.rows.get(key(self))?.pid === self.pid) this.rows.delete(key(self));
        }, POOL_ANSWER_MS),
    };
  }

  lockHolder(): LockHolder {
    return this.holder ? { held: true, label: undefined } : { held: false };
  }
}

class SimLock implements LeaderLock {
  private session: Session | undefined;
  private listener: (reason: string) => void = () => {};

  constructor(
    private readonly server: LockServer,
    private readonly access: Access,
    readonly label: string,
  ) {}

  get held(): boolean {
    return this.session !== undefined;
  }

  onLost(listener: (reason: string) => void): void {
    this.listener = listener;
  }

  async tryAcquire(): Promise<boolean> {
    const { server, access } = this;
    if (this.session) return true;
    if (access.full) throw new Error('too many connections');
    const session: Session = {
      access,
      heardAt: 0,
      open: true,
      onEnd: (reason) => this.lose(session, reason),
    };
    try {
      if (!(await access.ask(() => server.take(session), LOCK_ANSWER_MS))) return false;
    } catch (error) {
      this.close(session);
      throw error;
    }
    this.session = session;
    return true;
  }

  async check(): Promise<boolean> {
    const { session } = this;
    if (!session) return false;
    try {
      if (!(await this.access.ask(() => this.server.hear(session), LOCK_ANSWER_MS)))
        this.lose(session, 'ended');
    } catch (error) {
      this.lose(session, (error as Error).message);
    }
    return this.session === session;
  }

  async release(): Promise<void> {
    const { session } = this;
    this.session = undefined;
    if (session) this.close(session);
  }

  holder(): Promise<LockHolder> {
    return this.access.ask(() => this.server.lockHolder(), POOL_ANSWER_MS);
  }

  /** The server learns of it where a goodbye gets through. */
  private close(session: Session): void {
    const { access, server } = this;
    server.time.after(access.latency(), undefined, () => {
      if (access.way !== 'silent') server.end(session, 'closed');
    });
  }

  private lose(session: Session, reason: string): void {
    if (this.session !== session) return;
    this.session = undefined;
    this.close(session);
    this.listener(reason);
  }
}
