/** A snapshot of PostgreSQL as text, `xmin:xmax:xip,xip,…`: the transactions that had ended when it was taken. */
export interface Snapshot {
  /** Every lower transaction had ended. */
  xmin: bigint;
  /** No transaction from here on had ended. */
  xmax: bigint;
  /** Open transactions between the two; ascending. */
  xip: readonly bigint[];
}

const FORM = /^(\d{1,20}):(\d{1,20}):(\d{1,20}(?:,\d{1,20})*)?$/;

/** @returns undefined for an invalid snapshot */
export function parseSnapshot(text: string): Snapshot | undefined {
  const [, xmin, xmax, xip] = FORM.exec(text) ?? [];
  if (xmin === undefined || xmax === undefined) return undefined;
  return { xmin: BigInt(xmin), xmax: BigInt(xmax), xip: xip?.split(',').map(BigInt) ?? [] };
}

export const formatSnapshot = ({ xmin, xmax, xip }: Snapshot): string => `${xmin}:${xmax}:${xip.join(',')}`;

/**
 * The part of a snapshot up to transaction `last`: the position of a reader that has read transactions in the order of
 * their numbers up to there.
 */
export function upTo(snapshot: Snapshot, last: bigint): Snapshot {
  const xmax = last + 1n;
  const xip = snapshot.xip.filter((xid) => xid < xmax);
  return { xmin: xip[0] ?? xmax, xmax, xip };
}
