import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { isatty } from 'node:tty';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { LogLevel } from '../config/config.js';
import { type ErrorCode, LightconeError } from '../core/errors.js';
import { LogPipe } from './log-pipe.js';
import { textLine } from './text-lines.js';

export type { Logger } from 'pino';

const STDERR = 2;

/**
 * One line per message on standard error, JSON unless that is a terminal: standard output belongs to what a command was
 * asked to print.
 * Each component takes a child (`logger.child({ component: 'monitor' })`).
 */
export function createLogger(
  level: LogLevel,
  bindings: Record<string, unknown> = {},
  destination?: DestinationStream,
): Logger {
  const logger: Logger = pino(
    { level, base: bindings, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: describe } },
    destination ??
      standardError((lines) => logger.warn({ lines }, 'log lines dropped: the log was not read fast enough')),
  );
  return logger;
}

/** A file or a terminal takes every line at once. */
function standardError(sayLeftOut: (lines: number) => void): DestinationStream {
  if (isatty(STDERR)) return { write: (line) => process.stderr.write(textLine(line)) };
  const kind = fstatSync(STDERR);
  if (!kind.isFIFO() && !kind.isSocket()) return pino.destination({ dest: STDERR, sync: true });
  const out = new Socket({ fd: STDERR, readable: false, writable: true });
  out.unref();
  return new LogPipe(out, sayLeftOut);
}

const AWAY: ReadonlySet<ErrorCode> = new Set(['DATABASE_UNAVAILABLE', 'BUS_UNAVAILABLE']);

/** A neighbour that is away is an ordinary event, and where in the code it was noticed tells an administrator nothing. */
function describe(error: Error): object {
  if (error instanceof LightconeError && AWAY.has(error.code)) {
    return { code: error.code, message: error.message };
  }
  // Node's HTTP parser adds the bytes that it could not read, and there may be a key or a cookie among them.
  const { rawPacket: _, ...described } = pino.stdSerializers.err(error);
  return described;
}
