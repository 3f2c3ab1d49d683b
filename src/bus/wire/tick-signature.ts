import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Tick } from '../../core/events.js';

export const MAX_TICK_BYTES = 64 * 1024;

/** Proves that a process of the installation sent the tick. Other accounts of the broker cannot sign. */
export const signatureOf = (
  { leader, sequence, until, position }: Tick,
  updates: number | undefined,
  secret: string,
): string =>
  createHmac('sha256', secret)
    .update(JSON.stringify(['tick', leader, sequence, until, position, updates]))
    .digest('hex');

export function hasSignature(
  tick: Tick,
  updates: number | undefined,
  signature: unknown,
  secret: string,
): boolean {
  if (typeof signature !== 'string') return false;
  const [given, right] = [Buffer.from(signature), Buffer.from(signatureOf(tick, updates, secret))];
  return given.length === right.length && timingSafeEqual(given, right);
}
