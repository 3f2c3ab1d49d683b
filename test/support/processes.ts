/**
 * The built program as an administrator runs it: processes with a settings file, their log lines, and an end that is
 * certain.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { eventually } from './eventually.js';

const DIST = resolve(import.meta.dirname, '../../dist');

/** `NODE_INTERNALS=false npm test`: everything without the shortcuts into Node.js. */
export const WITHOUT_NODE_INTERNALS = process.env.NODE_INTERNALS === 'false';

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface LogLine {
  readonly [key: string]: unknown;
  readonly msg: string;
}

export class ServiceProcess {
  stdout = '';
  stderr = '';
  private readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  private exit: Exit | undefined;

  /**
   * @param args of `lightcone`, as `['serve', '--demo']`
   * @param cwd where a relative SQLite path and `galaxy.yml` are
   * @param executable another than that of dist/
   */
  constructor(
    args: readonly string[],
    cwd: string,
    env: Record<string, string> = {},
    executable: string = join(DIST, 'cli.js'),
  ) {
    if (!existsSync(executable)) throw new Error(`${executable} is missing: run "npm run build" first`);
    this.child = spawn(process.execPath, [executable, ...args], {
      cwd,
      env: {
        PATH: process.env.PATH,
        HOME: cwd,
        ...(WITHOUT_NODE_INTERNALS && { LIGHTCONE_NODE_INTERNALS: 'false' }),
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: the end of a supervisor takes its workers along.
      detached: true,
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.exited = new Promise((done) => {
      // `close`, not `exit`: by then its last lines have been read.
      this.child.once('close', (code, signal) => {
        this.exit = { code, signal };
        done(this.exit);
      });
    });
    process.once('exit', this.killGroup);
    void this.exited.then(() => process.removeListener('exit', this.killGroup));
  }

  get pid(): number {
    return this.child.pid!;
  }

  get running(): boolean {
    return this.exit === undefined;
  }

  /** By its own will: not killed, not broken off. */
  get endedProperly(): boolean {
    return this.exit !== undefined && (this.exit.code === 0 || this.exit.code === 2);
  }

  /** What Node.js says of an error that nobody caught; undefined when there was none. */
  get crash(): string | undefined {
    // It ends with the version, behind error and stack.
    return /^Node\.js v\d/m.test(this.stderr)
      ? this.stderr
          .split('\n')
          .filter((line) => !line.startsWith('{'))
          .join('\n')
      : undefined;
  }

  /** Log lines so far, parsed. */
  get lines(): LogLine[] {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .flatMap((line) => {
        try {
          return [JSON.parse(line) as LogLine];
        } catch {
          return [];
        }
      });
  }

  /** Resolves with the first log line, past or future, whose message holds the text. */
  line(text: string, within = 15_000): Promise<LogLine> {
    return this.seen(
      () => this.lines.find((line) => line.msg.includes(text)),
      `a log line "${text}"`,
      within,
    );
  }

  /** Where it listens, as its log says. */
  async address(within = 15_000): Promise<string> {
    const { address } = await this.line('ready', within);
    return address as string;
  }

  /** Waits for something that its output tells. */
  async seen<T>(look: () => T | undefined, what: string, within = 15_000): Promise<T> {
    try {
      return (await eventually(
        () => {
          const found = look();
          if (found === undefined && this.exit !== undefined) {
            throw new Error(`it ended with ${JSON.stringify(this.exit)}`);
          }
          return found;
        },
        { within, what },
      )) as T;
    } catch (error) {
      throw new Error(`${what}: ${(error as Error).message}\n${this.stdout}${this.stderr}`);
    }
  }

  /** Whether all is well at this address. */
  async ready(url: string, within = 20_000): Promise<void> {
    await eventually(async () => (await readiness(url)).ready, { within, what: `${url}/wellz` });
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** SIGTERM, and SIGKILL for the whole group when that does not end it in time. */
  async stop(within = 10_000): Promise<Exit> {
    if (this.running) this.signal('SIGTERM');
    const timer = setTimeout(this.killGroup, within);
    const exit = await this.exited;
    clearTimeout(timer);
    this.killGroup();
    return exit;
  }

  /** `kill -9`. */
  async kill(): Promise<Exit> {
    this.killGroup();
    return this.exited;
  }

  private readonly killGroup = (): void => {
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // none of them is left
    }
  };
}

/** Whether all is well, as `/wellz` says it; a process that does not answer is not ready. */
export async function readiness(
  url: string,
): Promise<{ status: number; ready: boolean; problems: string[] }> {
  try {
    const response = await fetch(`${url}/wellz`, { signal: AbortSignal.timeout(2_000) });
    const { well, problems } = (await response.json()) as { well: boolean; problems: string[] };
    return { status: response.status, ready: well, problems };
  } catch (error) {
    return { status: 0, ready: false, problems: [String(error)] };
  }
}
