/**
 * Lightcone inside another program (docs/embedding.md). It does not affect the process: no signal handlers, no exit.
 */
import type { Logger } from 'pino';
import type { Config } from '../../config/config.js';
import { refuseKnownSecret } from '../../config/known-secret.js';
import { isLoopback } from '../../config/listen.js';
import { loadConfig } from '../../config/load.js';
import type { EmbeddedSettings } from '../../config/sources.js';
import { LightconeError } from '../../core/errors.js';
import type { Authenticate } from '../../http/auth/application-authenticator.js';
import { systemClock } from '../../lib/clock.js';
import { createLogger } from '../../telemetry/logger.js';
import { serverNameOf } from '../processes/server-name.js';
import { Worker } from '../processes/worker.js';
import type { PublishedEvent } from './event-publisher.js';
import { type Mount, type MountTarget, mountOn, serverOf } from './mount.js';

export interface ServerOptions {
  /**
   * Sections of galaxy.yml as an object; no file and no environment variable is read. docs/configuration.md lists them.
   */
  settings?: EmbeddedSettings;
  /** Authenticates callers. Default: session cookies and API keys in the tables of the database. */
  authenticate?: Authenticate;
  /** Default: JSON lines on standard error, at `sse.log_level`. */
  logger?: Logger;
}

export interface LightconeServer {
  /** The listen address, as a URL or `unix:/path`; undefined before the start, and for a mounted server. */
  readonly address: string | undefined;
  /**
   * Resolves when the server serves streams. Waits for an unavailable database or broker.
   * @throws LightconeError if waiting does not help: an address in use, tables of another schema
   */
  start(): Promise<void>;
  /** Ends all streams and frees all resources, within `sse.drain_timeout`. May be called at any time, and twice. */
  stop(): Promise<void>;
  /**
   * Resolves when the event is committed to the database; it is then delivered, whatever fails.
   * @throws LightconeError PARAMETER_INVALID, NOT_FOUND, CONFIG_INVALID, NOT_NOW, DATABASE_UNAVAILABLE; nothing is
   * published then
   */
  publish(event: PublishedEvent): Promise<void>;
  /**
   * Call it before `start`. This server answers requests of `target` to paths under `galaxy.galaxy_url_prefix`; other
   * listeners answer all others. `start` then opens no socket. When the target closes, this server stops.
   * @throws LightconeError CONFIG_INVALID
   */
  mount(target: MountTarget): void;
}

const OPTIONS = ['settings', 'authenticate', 'logger'];

/** @throws LightconeError CONFIG_INVALID; its message lists every invalid setting on a line of its own */
export async function createServer(options: ServerOptions = {}): Promise<LightconeServer> {
  checkOptions(options);
  const { settings, authenticate } = options;
  const config = loadConfig({ env: {}, flags: {}, cwd: process.cwd(), settings });
  if (config.sse.workers > 1) {
    throw wrong(
      'settings: sse.workers: an embedded server is one worker; start more processes, or remove the setting',
    );
  }
  const logger =
    options.logger ?? createLogger(config.logLevel, {}, { write: (line) => process.stderr.write(line) });
  for (const warning of config.warnings) logger.warn({ component: 'settings' }, warning);
  const mounts: Mount[] = [];
  const isMounted = (): boolean => mounts.length > 0;
  const worker = await Worker.create({
    config,
    serverName: serverNameOf(config),
    demo: false,
    supervised: false,
    authenticate,
    isMounted,
    runtime: { logger, clock: systemClock, random: Math.random },
  });
  return new EmbeddedServer(worker, config, mounts);
}

class EmbeddedServer implements LightconeServer {
  private state: 'new' | 'started' | 'stopped' = 'new';
  private readonly starting = new AbortController();
  private started: Promise<void> | undefined;

  constructor(
    private readonly worker: Worker,
    private readonly config: Config,
    private readonly mounts: Mount[],
  ) {}

  get address(): string | undefined {
    return this.state === 'started' && this.mounts.length === 0 ? this.worker.address : undefined;
  }

  start(): Promise<void> {
    this.started ??= this.begin();
    return this.started;
  }

  private async begin(): Promise<void> {
    if (this.state === 'stopped') throw notNow('start: this server was stopped; create another one');
    const { auth, http } = this.config;
    refuseKnownSecret(auth.idSecret, this.mounts.length === 0 && isLoopback(http.listen));
    const { signal } = this.starting;
    try {
      await this.worker.start(signal);
      signal.throwIfAborted();
    } catch (error) {
      // Whatever fails while a stop takes the parts away fails because of it.
      const cause = signal.aborted ? signal.reason : error;
      await this.stop();
      throw cause;
    }
    this.state = 'started';
  }

  async stop(): Promise<void> {
    this.state = 'stopped';
    this.starting.abort(notNow('start: the server was stopped during its start'));
    await this.worker.stop();
    for (const mount of this.mounts) mount.remove();
  }

  async publish(event: PublishedEvent): Promise<void> {
    if (this.state !== 'started') throw notNow('publish: the server is not started');
    const { events } = this.worker;
    if (!events)
      throw wrong(
        "publish: beside a Galaxy (sse.attach_to_galaxy) events come from Galaxy's own tables and API",
      );
    await events.publish(event);
  }

  mount(target: MountTarget): void {
    const server = serverOf(target);
    const { prefix } = this.config.http;
    if (this.started !== undefined || this.state !== 'new') throw notNow('mount: call it before start');
    if (prefix === '') {
      throw wrong(
        "mount: settings.galaxy.galaxy_url_prefix must be the prefix of Lightcone's paths, such as /live",
      );
    }
    refuseKnownSecret(this.config.auth.idSecret, false);
    this.mounts.push(
      mountOn(server, prefix, {
        handle: (request, response) => this.worker.handle(request, response),
        onClose: () => void this.stop(),
      }),
    );
  }
}

function checkOptions(options: ServerOptions): void {
  if (!isObject(options)) throw wrong('takes one options object');
  for (const name of Object.keys(options)) {
    if (!OPTIONS.includes(name))
      throw wrong(`there is no option ${name}; the options are ${OPTIONS.join(', ')}`);
  }
  const { settings, authenticate, logger } = options;
  if (authenticate !== undefined && typeof authenticate !== 'function')
    throw wrong('authenticate must be a function');
  if (logger !== undefined && typeof logger?.child !== 'function') throw wrong('logger must be one of pino');
  if (settings === undefined) return;
  for (const [name, section] of isObject(settings) ? Object.entries(settings) : ([['', settings]] as const)) {
    if ((name !== 'galaxy' && name !== 'sse') || !isObject(section))
      throw wrong('settings must be { galaxy: {…}, sse: {…} }, as in galaxy.yml');
  }
}

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const wrong = (what: string): LightconeError => new LightconeError('CONFIG_INVALID', `createServer: ${what}`);
const notNow = (what: string): LightconeError => new LightconeError('NOT_NOW', what);
