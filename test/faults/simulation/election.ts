/** Candidates that are cut off, frozen, killed and named alike, and what is asked of them: one leads, and one that can. */

import { Leadership, silenceMs } from '../../../src/election/leadership.js';
import type { AppType } from '../../../src/election/rank.js';
import { createLogger } from '../../../src/telemetry/logger.js';
import { noMetrics } from '../../../src/telemetry/metrics.js';
import { Access, LockServer } from './lock-server.js';
import { SimProcess, type SimulatedTime } from './time.js';

export type ElectionFault =
  | 'no broker'
  | 'broker confirms nothing'
  | 'no database'
  | 'database silent'
  | 'no new sessions'
  | 'freeze'
  | 'kill'
  | 'host vanishes'
  | 'clean stop'
  | 'database clock steps'
  | 'fail-over';

export interface ElectionScenario {
  seed: number;
  heartbeatMs: number;
  /** How long one may go on publishing after another has begun, not counting the time in which it stood still. */
  overlapMs: number;
  candidates: readonly { name: string; appType: AppType }[];
  faults: readonly { kind: ElectionFault; atMs: number; index: number; durationMs: number; stepMs: number }[];
}

const END_MS = 150_000;
const LOOK_MS = 500;
const TICK_MS = 1_000;
/** Who can lead is not kept waiting longer, where nobody else is in the way. */
const LEADS_WITHIN_MS = 30_000;
/** One whose broker takes everything and confirms nothing finds out by trying: the first time in 15 s. */
const PER_DEAF_MS = 16_000;
const PENALTY_MS = 45_000;

const logger = createLogger('silent');

class Candidate {
  process: SimProcess;
  access: Access;
  leadership: Leadership;
  broker: 'up' | 'away' | 'deaf' = 'up';
  /** Since when it could lead: alive, running, and everything reachable. */
  capableSince: number | undefined;
  wasDeaf = false;
  private stopped = false;
  private restarts = 0;

  constructor(
    private readonly world: ElectionWorld,
    readonly given: ElectionScenario['candidates'][number],
    readonly pid: number,
  ) {
    this.process = new SimProcess(given.name);
    this.access = new Access(world.time, this.process);
    this.leadership = this.create();
  }

  get capable(): boolean {
    const { process, access, broker } = this;
    const runs = process.alive && process.frozenUntil <= this.world.time.ms;
    return runs && !this.stopped && access.way === 'up' && !access.full && broker === 'up';
  }

  start(): void {
    this.world.time.after(0, this.process, () => void this.leadership.start());
  }

  stop(): void {
    this.stopped = true;
    void this.leadership.stop();
  }

  /** The same program again, as a service manager starts it. */
  restart(): void {
    this.restarts += 1;
    this.stopped = false;
    this.capableSince = undefined;
    const { way, full } = this.access;
    this.process = new SimProcess(this.given.name);
    this.access = new Access(this.world.time, this.process);
    Object.assign(this.access, { way, full });
    this.leadership = this.create();
    this.start();
  }

  private create(): Leadership {
    const { time, server, heartbeatMs } = this.world;
    const { name, appType } = this.given;
    const pid = this.pid + 100 * this.restarts;
    let confirmedAt: number | undefined;
    let publishing: ReturnType<typeof setInterval> | undefined;
    return new Leadership({
      self: { serverName: name, hostname: 'host', pid, appType },
      workerProcesses: server.workerProcesses(this.access),
      lock: server.createLock(this.access, name),
      heartbeatMs,
      role: {
        gain: async () => {
          clearInterval(publishing);
          this.world.tenures += 1;
          const { process, world } = this;
          const tenure = world.tenures;
          publishing = setInterval(() => {
            world.onPublish(process, tenure);
            if (this.broker !== 'up') return;
            confirmedAt = time.ms;
            world.confirmed.push(time.ms);
          }, TICK_MS);
        },
        lose: async () => clearInterval(publishing),
      },
      confirmedAt: () => confirmedAt,
      hindrance: () => (this.broker === 'away' ? 'no broker' : undefined),
      logger,
      metrics: noMetrics,
      clock: time,
      random: () => time.random(),
    });
  }
}

export class ElectionWorld {
  readonly server: LockServer;
  readonly heartbeatMs: number;
  /** When a tick was confirmed, whoever led. */
  readonly confirmed: number[] = [];
  readonly violations: string[] = [];
  private readonly candidates: Candidate[];
  /** Tenures are numbered in the order in which their locks were taken; when each first published. */
  tenures = 0;
  private readonly begun: { tenure: number; process: SimProcess; at: number; lastAt: number }[] = [];

  constructor(
    readonly time: SimulatedTime,
    private readonly scenario: ElectionScenario,
  ) {
    this.heartbeatMs = scenario.heartbeatMs;
    this.server = new LockServer(time, silenceMs(this.heartbeatMs));
    this.candidates = scenario.candidates.map((given, i) => new Candidate(this, given, i + 1));
  }

  /** @returns what was promised and not kept */
  async run(): Promise<string[]> {
    for (const candidate of this.candidates) candidate.start();
    for (const fault of this.scenario.faults) {
      this.time.after(fault.atMs, undefined, () => this.strike(fault));
    }
    for (let ms = LOOK_MS; ms < END_MS; ms += LOOK_MS) this.time.after(ms, undefined, () => this.look());
    await this.time.run(END_MS);
    return this.violations;
  }

  /**
   * Two publish at once for `overlapMs` at most, not counting the time in which either stood still. Which of them is the one to
   * end is not told by who began first: one may have got a lock of the server that was.
   */
  onPublish(process: SimProcess, tenure: number): void {
    const { time, begun } = this;
    const own = begun.find((one) => one.tenure === tenure) ?? { tenure, process, at: time.ms, lastAt: 0 };
    if (own.lastAt === 0) begun.push(own);
    own.lastAt = time.ms;
    for (const other of begun) {
      if (other === own || time.ms - other.lastAt > TICK_MS + 1) continue;
      const since = Math.max(own.at, other.at, process.frozenUntil, other.process.frozenUntil);
      if (time.ms > since + this.scenario.overlapMs) {
        this.violations.push(
          `${process.name} and ${other.process.name} publish at ${time.ms}, since ${since}`,
        );
      }
    }
  }

  private look(): void {
    const { time, candidates } = this;
    let deaf = 0;
    for (const one of candidates) {
      if (!one.capable) one.capableSince = undefined;
      else one.capableSince ??= time.ms;
      if (one.broker === 'deaf') one.wasDeaf = true;
      if (one.wasDeaf) deaf += 1;
    }
    const boundMs = LEADS_WITHIN_MS + (deaf > 0 ? deaf * PER_DEAF_MS + PENALTY_MS : 0);
    const able = candidates.find((one) => time.ms - (one.capableSince ?? time.ms) >= boundMs);
    if (!able || time.ms - (this.confirmed.at(-1) ?? 0) < boundMs) return;
    this.violations.push(`nobody leads at ${time.ms}, and ${able.given.name} could for ${boundMs} ms`);
  }

  private strike({ kind, index, durationMs, stepMs }: ElectionScenario['faults'][number]): void {
    const { time, server } = this;
    const one = this.candidates[index % this.candidates.length]!;
    const until = (end: () => void) => time.after(durationMs, undefined, end);
    const { access, process } = one;
    switch (kind) {
      case 'no broker':
        one.broker = 'away';
        until(() => {
          one.broker = 'up';
          time.after(0, one.process, () => one.leadership.unhindered());
        });
        break;
      case 'broker confirms nothing':
        one.broker = 'deaf';
        until(() => {
          if (one.broker === 'deaf') one.broker = 'up';
        });
        break;
      case 'no database':
        access.way = 'away';
        server.reset(access);
        until(() => this.heal(one));
        break;
      case 'database silent':
        access.way = 'silent';
        until(() => this.heal(one));
        break;
      case 'no new sessions':
        access.full = true;
        until(() => {
          one.access.full = false;
        });
        break;
      case 'freeze':
        process.frozenUntil = Math.max(process.frozenUntil, time.ms + durationMs);
        break;
      case 'kill':
        process.alive = false;
        server.reset(access);
        until(() => this.revive(one));
        break;
      case 'host vanishes':
        process.alive = false;
        until(() => this.revive(one));
        break;
      case 'clean stop':
        time.after(0, process, () => one.stop());
        until(() => this.revive(one));
        break;
      case 'database clock steps':
        server.clockOffset += stepMs * 1000;
        break;
      case 'fail-over':
        server.failOver();
        break;
    }
  }

  private heal(one: Candidate): void {
    one.access.way = 'up';
  }

  private revive(one: Candidate): void {
    one.process.alive = false;
    this.server.reset(one.access);
    one.restart();
  }
}
