import { describe, expect, it } from 'vitest';
import { createLogger } from '../../src/telemetry/logger.js';
import { textLine } from '../../src/telemetry/text-lines.js';

/** What a terminal shows of what the logger writes. */
function shown(log: (logger: ReturnType<typeof createLogger>) => void): string {
  let text = '';
  log(createLogger('info', {}, { write: (line) => (text += textLine(line)) }));
  return text.replace(/^\d\d:\d\d:\d\d/, 'HH:MM:SS');
}

describe('on a terminal a log line', () => {
  it('has its time, level, place, message and details', () => {
    const text = shown((logger) =>
      logger
        .child({ server: 'main.1', component: 'bus' })
        .warn({ seconds: 3, reason: 'it is away' }, 'waiting'),
    );
    expect(text).toBe('HH:MM:SS WARN  [main.1 bus] waiting  seconds=3 reason="it is away"\n');
  });

  it('steers no terminal and is no other line, whatever it quotes', () => {
    const evil = 'a\n10:21:14 ERROR forged\r\x1b[2J\x9b31m\u202e';
    const text = shown((logger) => logger.warn({ evil: '\x1b[2J', err: new Error(evil) }, `got ${evil}`));
    expect(text).toMatch(/^HH:MM:SS WARN {2}got a\n {4}10:21:14 ERROR forged\\u000d/);
    expect(text.split('\n').filter((line) => /^\d/.test(line))).toEqual([]);
    expect(text).not.toMatch(/(?!\n)\p{Cc}|\u202e/u);
  });

  it('has the error below it', () => {
    const text = shown((logger) => logger.error({ err: new Error('broken') }, 'it failed'));
    expect(text).toMatch(/^HH:MM:SS ERROR it failed\n {4}Error: broken\n {8}at /);
  });
});
