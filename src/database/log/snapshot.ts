/** A snapshot of PostgreSQL as text, `xmin:xmax:xip,xip,…`: which transactions had ended when it was taken. */
export interface Snapshot {
  /** Every transaction below had ended. */
  xmin: bigint;
  /** None from here on had. */
  xmax: bigint;
  /** Those between that had not; ascending. */
  xip: readonly bigint[];
}

const FORM = /^(\d{1,20}):(\d{1,20}):(\d{1,20}(?:,\d{1,20})*)?$/;

/** @returns undefined for what is no snapshot */
export function parseSnapshot(text: string): Snapshot | undefined {
  const [, xmin, xmax, xip] = FORM.exec(text) ?? [];
  if (xmin === undefined || xmax === undefined) return undefined;
  return { xmin: BigInt(xmin), xmax: BigInt(xmax), xip: xip?.split(',').map(BigInt) ?? [] };
}

export const formatSnapshot = ({ xmin, xmax, xip }: Snapshot): string => `${xmin}:${xmax}:${xip.join(',')}`;

/**
 * Of what a snapshot sees, only the transactions up to `last`: where a reader stands that has read those in the order of
 * their numbers and the rest not yet.
 */
export function upTo(snapshot: Snapshot, last: bigint): Snapshot {
  const xmax = last + 1n;
  const xip = snapshot.xip.filter((xid) => xid < xmax);
  return { xmin: xip[0] ?? xmax, xmax, xip };
}
