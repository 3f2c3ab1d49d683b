import { printable } from '../lib/printable.js';

/** Log lines for people: on a terminal, and for one-shot commands. */
const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'WARN',
  50: 'ERROR',
  60: 'FATAL',
};

/** @param line a JSON line of the logger @returns `10:21:14 WARN  [election] nobody leads  seconds=5` */
export function textLine(line: string): string {
  const {
    level,
    time,
    component,
    server,
    msg = '',
    err,
    ...rest
  } = JSON.parse(line) as Record<string, unknown>;
  const clock = String(time).slice(11, 19);
  const from = [server, component].filter((part) => part !== undefined).join(' ');
  const details = Object.entries(rest).map(([key, value]) => `${key}=${plain(value)}`);
  const parts = [
    `${clock} ${(LEVELS[level as number] ?? String(level)).padEnd(5)}`,
    from && `[${from}]`,
    // Indents quoted lines, so that none of them looks like a log line.
    String(msg).replaceAll('\n', '\n    '),
    ...(details.length > 0 ? [` ${details.join(' ')}`] : []),
  ].filter((part) => part !== '');
  return printable(`${parts.join(' ')}\n${described(err)}`);
}

const plain = (value: unknown): string =>
  typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);

/** Formats an error, with its stack if there is one, below the line. */
function described(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  const { stack, message } = error as { stack?: string; message?: string };
  return `${(stack ?? message ?? JSON.stringify(error)).replace(/^/gm, '    ')}\n`;
}
