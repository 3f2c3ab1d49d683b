/**
 * The data of a measured event: about 200 bytes of JSON with one byte that occurs nowhere else in a stream, and two times
 * at fixed places behind it, so that a reader finds them without parsing.
 */
export const MARK = 0x7e; // ~
const DIGITS = 17; // 1795255595123.456
const PUBLISHED_AT = 7;
const RECEIVED_AT = PUBLISHED_AT + DIGITS + 5;
const END = RECEIVED_AT + DIGITS;

/** Milliseconds since 1970, the same clock in every process of the machine. */
export const now = (): number => performance.timeOrigin + performance.now();

const written = (time: number): string => time.toFixed(3).padStart(DIGITS, '0');

/** @param size bytes of filling */
export const payloadOf = (publishedAt: number, size = 120): string =>
  `{"m":"~","t":${written(publishedAt)},"r":${written(publishedAt)},"pad":"${'x'.repeat(size)}"}`;

/** The same event, with the time at which the worker received it. */
export function stampReceipt(payload: string, receivedAt: number): string {
  const at = payload.indexOf('~') + RECEIVED_AT;
  return payload.slice(0, at) + written(receivedAt) + payload.slice(at + DIGITS);
}

/** @returns the two times of the event whose mark is at `index`, or undefined where the read ends before them */
export function timesAt(bytes: Buffer, index: number, length: number): [number, number] | undefined {
  if (index + END > length) return undefined;
  const number = (offset: number): number =>
    Number(bytes.toString('latin1', index + offset, index + offset + DIGITS));
  return [number(PUBLISHED_AT), number(RECEIVED_AT)];
}
