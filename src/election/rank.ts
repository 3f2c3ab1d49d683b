/**
 * Who should lead, out of the heartbeat rows (section 2 of the contract): the least server name among the standalone
 * monitors; without any, the greatest among the web workers. Names compare by code point, so `main.9` > `main.10`.
 */
import type { WorkerProcessRow } from '../database/port.js';

export type AppType = 'webapp' | 'sse_monitor';

type Named = Pick<WorkerProcessRow, 'serverName' | 'hostname' | 'appType'>;

/** JavaScript compares strings by UTF-16 unit, which puts a name with an emoji before one with U+FFxx. */
export function compareCodePoints(a: string, b: string): number {
  const left = [...a];
  const right = [...b];
  const length = Math.min(left.length, right.length);
  for (let i = 0; i < length; i += 1) {
    const difference = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** Less than zero when `a` should lead rather than `b`. Two hosts with one server name are told apart by the host. */
function compareCandidates(a: Named, b: Named): number {
  if (a.appType !== b.appType) return a.appType === 'sse_monitor' ? -1 : 1;
  const byName = compareCodePoints(a.serverName, b.serverName) || compareCodePoints(a.hostname, b.hostname);
  return a.appType === 'sse_monitor' ? byName : -byName;
}

const isCandidate = (row: Named): boolean => row.appType === 'sse_monitor' || row.appType === 'webapp';

const isSame = (a: Named, b: Named): boolean => a.serverName === b.serverName && a.hostname === b.hostname;

/** Candidates that should lead rather than `self`, the best first. */
export function betterThan<Row extends Named>(self: Named, rows: readonly Row[]): Row[] {
  return rows
    .filter((row) => isCandidate(row) && !isSame(row, self) && compareCandidates(row, self) < 0)
    .sort(compareCandidates);
}
