/** The health and status of a worker: `/healthz`, `/readyz`, `/api/status` and `/metrics`. */
import { hostname } from 'node:os';
import type { Bus } from '../bus/port.js';
import type { Config } from '../config/config.js';
import type { ConnectionManager } from '../connections/manager.js';
import type { Database } from '../database/port.js';
import { countFlow, type StatusSource, type WorkerStatus } from '../http/routes/status-source.js';
import type { Clock } from '../lib/clock.js';
import { formatIso, MICROS_PER_SECOND } from '../lib/time.js';
import type { CountingMetrics } from '../telemetry/counting-metrics.js';
import { formatPrometheus, labelled } from '../telemetry/prometheus.js';
import { VERSION } from './version.js';
import type { Candidate } from './wiring/candidate.js';

export interface StatusOptions {
  config: Config;
  serverName: string;
  clock: Clock;
  database: Database;
  bus: Bus;
  manager: ConnectionManager;
  metrics: CountingMetrics;
  /** Whether the tables and the demo data exist. */
  prepared: () => boolean;
  /** Undefined until the election starts. */
  candidate: () => Candidate | undefined;
  leaderName: () => string | undefined;
  /** Undefined until the database is reached. */
  installation: () => string | undefined;
}

/** A leader sends a tick every second; an election may take some seconds. */
const SILENT_SECONDS = 15;

export class WorkerStatusSource implements StatusSource {
  private readonly started: number;
  private readonly startedAt: number;

  constructor(private readonly options: StatusOptions) {
    this.started = options.clock.now();
    this.startedAt = options.clock.monotonic();
  }

  /** A process that answers is alive, unless only a restart helps. Outages show in `readyProblems` and `problems`. */
  liveProblems(): string[] {
    const reason = this.options.database.mustRestart?.();
    return reason === undefined ? [] : [reason];
  }

  readyProblems(): string[] {
    const { config, manager, prepared } = this.options;
    const reason = this.options.database.mustRestart?.();
    if (reason !== undefined) return [reason];
    if (!prepared()) return ['this worker is starting: its tables are not ready yet'];
    if (!config.sse.enabled) return [];
    if (manager.draining) return ['this worker is draining: it stops'];
    return manager.ready ? [] : ['this worker is starting: it has not read the recent changes yet'];
  }

  problems(): string[] {
    const { config, database, bus, manager } = this.options;
    const problems: (string | undefined)[] = [...new Set([database.problem(), ...this.readyProblems()])];
    if (!config.sse.enabled) {
      problems.push('enable_sse_updates is off: the stream answers 403, and no tab receives changes');
    } else {
      problems.push(bus.problem());
      if (
        manager.ready &&
        config.bus.kind === 'in-process' &&
        this.options.candidate()?.leadership.leading !== true
      ) {
        problems.push(
          'this worker is not the monitor, and without a broker no other process can send it changes: run one `lightcone serve` per database, or set amqp_internal_connection',
        );
      }
      problems.push(this.silence(), this.options.candidate()?.electionProblem());
      const behind = this.options.candidate()?.monitor.problem();
      if (behind !== undefined)
        problems.push(
          `the monitor is behind (${behind}): it reads the changes since its cursor as soon as it can`,
        );
    }
    return problems.filter((problem) => problem !== undefined);
  }

  installation(): string | null {
    return this.options.installation() ?? null;
  }

  /** Only ticks prove that a monitor reads and publishes, and that its messages arrive here. */
  private silence(): string | undefined {
    const { config, manager, bus } = this.options;
    const { watermark } = manager;
    const now = manager.estimateNow();
    const leader = this.options.leaderName();
    // Beside a Galaxy, Galaxy's own monitor may lead, and it sends no ticks.
    if (watermark === undefined || now === undefined || bus.problem() !== undefined) return undefined;
    if (config.sse.attachToGalaxy && leader === undefined) return undefined;
    const seconds = Math.round((now - watermark) / MICROS_PER_SECOND);
    if (seconds <= SILENT_SECONDS) return undefined;
    const last = leader === undefined ? 'none has arrived yet' : `the last one came from ${leader}`;
    return `no tick of a monitor has arrived for ${seconds} s (${last}): no process leads, the leader cannot read or publish, or its messages do not arrive here; "lightcone doctor" says which`;
  }

  status(): WorkerStatus {
    const { config, serverName, clock, database, bus, manager, metrics } = this.options;
    const candidate = this.options.candidate();
    const cursor = candidate?.monitor.cursor;
    const { watermark } = manager;
    const now = manager.estimateNow();
    const age = (moment: number | undefined): number | null =>
      moment === undefined || now === undefined ? null : Math.max(0, Math.round((now - moment) / 1000));
    return {
      server: {
        name: serverName,
        hostname: hostname(),
        pid: process.pid,
        version: VERSION,
        mode: config.sse.attachToGalaxy ? 'attached' : 'standalone',
        started: formatIso(this.started),
        uptime_seconds: Math.round((clock.monotonic() - this.startedAt) / 1000),
        draining: manager.draining,
      },
      problems: this.problems(),
      database: {
        kind: config.database.kind,
        display: config.database.display,
        problem: database.problem() ?? null,
        statements: database.statements,
      },
      bus: { kind: config.bus.kind, display: config.bus.display, problem: bus.problem() ?? null },
      monitor: {
        leads: candidate?.leadership.leading ?? false,
        leader: this.options.leaderName() ?? null,
        source: candidate?.monitor.sourceName ?? null,
        cursor: cursor === undefined ? null : formatIso(cursor),
        cursor_age_ms: candidate?.monitor.cursorAgeMs ?? null,
      },
      watermark: { until: watermark === undefined ? null : formatIso(watermark), age_ms: age(watermark) },
      connections: {
        open: manager.registry.all.length,
        users: manager.registry.userCount,
        sessions: manager.registry.sessionCount,
        viewed_histories: manager.viewers.size,
        limit: config.sse.maxConnections,
      },
      flow: countFlow(metrics),
    };
  }

  prometheus(): string {
    const { metrics, serverName } = this.options;
    return formatPrometheus(labelled(metrics.totals(), { process: serverName }));
  }
}
