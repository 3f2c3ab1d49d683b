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
 * Writes one line per message to standard error, as JSON unless that is a terminal. Standard output is for the
 * results of commands. Each component uses a child logger (`logger.child({ component: 'monitor' })`).
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

/** An unavailable database or broker is an ordinary event, for which a stack trace does not help an administrator. */
function describe(error: Error): object {
  if (error instanceof LightconeError && AWAY.has(error.code)) {
    return { code: error.code, message: error.message };
  }
  // Node's HTTP parser attaches the bytes that it could not parse, which may contain a key or a cookie.
  const { rawPacket: _, ...described } = pino.stdSerializers.err(error);
  return described;
}
