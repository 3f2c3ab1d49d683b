/**
 * What all fuzz tests share: seeded randomness, mutation of valid inputs, and what no input may do (throw, hang, leave memory
 * behind). Vitest itself fails a run with an unhandled rejection or an uncaught error.
 *
 *     LIGHTCONE_FUZZ=long         100,000 inputs each instead of a few thousand
 *     LIGHTCONE_FUZZ_INPUTS=5000  of the long form, fewer
 *     LIGHTCONE_FUZZ_SEED=7       the same inputs again; a failure prints its seed
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const LONG = process.env.LIGHTCONE_FUZZ === 'long';
export const SEED = Number(
  process.env.LIGHTCONE_FUZZ_SEED ?? (LONG ? Math.floor(Math.random() * 2 ** 31) : 3),
);
/** Of a test in the long form. */
export const TIMEOUT_MS = LONG ? 1_800_000 : 60_000;
/** For whoever waits for an end: far above what a machine that others use takes. */
export const HANGS_MS = LONG ? 60_000 : 20_000;
/** Of processor time, where inputs come one by one: a machine that others use makes nothing slower by that. */
const SLOWEST_MS = 2_000;
const LEFT_MIB = 24;

export const inputs = (short: number, long = 100_000): number =>
  LONG ? Math.min(long, Number(process.env.LIGHTCONE_FUZZ_INPUTS ?? long)) : short;

/** mulberry32: small, and the same everywhere. */
export class Random {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }
  chance(probability: number): boolean {
    return this.next() < probability;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
  many<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make);
  }
}

/** Pieces that parsers have stumbled over; latin1. */
const PIECES = [
  ...'\0\r\n\t "\'\\{}[]:;,=&?#%/-+.~',
  '\r\n',
  '\n\n',
  '\x7f',
  '\xff\xfe',
  '\xc3\x28',
  '\xed\xa0\x80',
  '\xe2\x80\xa8',
  '%00',
  '%0d%0a',
  '%2e%2e%2f',
  '\\u0000',
  '\\ud800',
  '__proto__',
  'constructor',
  'null',
  'true',
  'NaN',
  '-1',
  '0',
  '1e999',
  '2147483648',
  '9007199254740993',
  '99999999999999999999',
  'A'.repeat(300),
  '['.repeat(200),
  'data: x\n\n',
  'event: forged\n',
];

/** A valid input with some accidents. */
export function mutate(random: Random, corpus: readonly string[]): string {
  let text = random.pick(corpus);
  for (let left = 1 + random.below(4); left > 0; left -= 1) {
    const at = random.below(text.length + 1);
    const to = Math.min(text.length, at + 1 + random.below(random.chance(0.8) ? 4 : 60));
    switch (random.below(7)) {
      case 0:
        text = text.slice(0, at) + text.slice(to);
        break;
      case 1:
        text = text.slice(0, to) + text.slice(at);
        break;
      case 2:
        text = text.slice(0, at) + String.fromCharCode(random.below(256)) + text.slice(at + 1);
        break;
      case 3: {
        const other = random.pick(corpus);
        text = text.slice(0, at) + other.slice(random.below(other.length + 1));
        break;
      }
      case 4:
        text = random.chance(0.3) ? text.slice(0, at) : text;
        break;
      default:
        text = text.slice(0, at) + random.pick(PIECES) + text.slice(random.chance(0.5) ? at : to);
    }
  }
  return text.slice(0, 20_000);
}

/** A value of JSON, or something that JSON.stringify makes one of. */
export function anyJson(random: Random, depth = 3): unknown {
  const leaf = () =>
    random.pick<unknown>([
      null,
      true,
      false,
      0,
      1,
      -1,
      1.5,
      2 ** 31,
      2 ** 53,
      1e300,
      '',
      'x',
      'a\0b',
      'line\r\nline',
      '\ud800',
      '1e5ab1f4bd5a8a1d',
      'é'.repeat(300),
      '2026-07-01T12:34:56',
      random.below(10),
    ]);
  if (depth === 0 || random.chance(0.4)) return leaf();
  if (random.chance(0.5)) return random.many(4, () => anyJson(random, depth - 1));
  const keys = ['id', 'name', 'toString', '__proto__x', '', 'payload', 'key'];
  return Object.fromEntries(random.many(4, () => [random.pick(keys), anyJson(random, depth - 1)]));
}

/** A valid body with one place changed: a leaf, a missing key, one too many. */
export function mutateJson(random: Random, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || random.chance(0.05)) {
    return typeof value === 'number' && random.chance(0.7) ? random.below(12) : anyJson(random);
  }
  if (Array.isArray(value)) {
    const at = random.below(value.length + 1);
    if (random.chance(0.2)) return value.toSpliced(at, 1);
    return value.length === 0
      ? [anyJson(random, 1)]
      : value.with(at % value.length, mutateJson(random, value[at % value.length]));
  }
  const entries = Object.entries(value);
  const at = random.below(entries.length + 1);
  const [key, old] = entries[at] ?? ['extra', undefined];
  if (random.chance(0.1)) return Object.fromEntries(entries.toSpliced(at, 1));
  return { ...value, [random.chance(0.05) ? '__proto__x' : key]: mutateJson(random, old) };
}

export interface Tally {
  inputs: number;
  slowestMs: number;
  mibLeft: number;
}

/**
 * Gives `once` one input after another, some of them at the same time.
 *
 * @param once makes its input, says what it is by `seen`, and throws where something is wrong
 */
export async function fuzz(
  count: number,
  once: (random: Random, seen: (input: unknown) => void) => unknown,
  { atOnce = 1, salt = 0 } = {},
): Promise<Tally> {
  let slowestMs = 0;
  let begun = 0;
  let base = 0;
  const now = atOnce === 1 ? processorMs : () => performance.now();
  const one = async (number: number): Promise<void> => {
    let input: unknown;
    const at = now();
    try {
      const done = once(new Random((SEED + salt) * 1_000_003 + number), (seen) => {
        input = seen;
      });
      if (done instanceof Promise) await done;
    } catch (error) {
      const text = JSON.stringify(input)?.slice(0, 3000);
      throw new Error(
        `input ${number} of LIGHTCONE_FUZZ_SEED=${SEED}: ${(error as Error).message}\n${text}`,
        {
          cause: error,
        },
      );
    }
    slowestMs = Math.max(slowestMs, now() - at);
  };
  const lane = async (until: number): Promise<void> => {
    while (begun < until) await one(begun++);
  };
  const upTo = (until: number) => Promise.all(Array.from({ length: atOnce }, () => lane(until)));
  // Caches fill and code is compiled.
  await upTo(Math.ceil(count * 0.3));
  base = heapMib();
  await upTo(count);
  const tally = { inputs: count, slowestMs: Math.round(slowestMs), mibLeft: Math.round(heapMib() - base) };
  if (atOnce === 1 && slowestMs > SLOWEST_MS)
    throw new Error(`one input took ${tally.slowestMs} ms of processor time`);
  if (tally.mibLeft > LEFT_MIB) throw new Error(`${tally.mibLeft} MiB are left behind by ${count} inputs`);
  return tally;
}

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function heapMib(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed / 1024 / 1024;
}

/** One line for docs/reliability.md. */
export function report(what: string, { inputs: count, slowestMs, mibLeft }: Tally, more = ''): void {
  console.log(
    `fuzz: ${what}: ${count} inputs, slowest ${slowestMs} ms, ${mibLeft} MiB left${more && `, ${more}`}`,
  );
}
