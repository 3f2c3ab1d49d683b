/**
 * Ranks candidates by their heartbeat rows (contract, section 2): the smallest server name of the standalone monitors;
 * without any, the greatest of the web workers. Names compare by code point, so `main.9` > `main.10`.
 */
import type { WorkerProcessRow } from '../database/port.js';

export type AppType = 'webapp' | 'sse_monitor';

type Named = Pick<WorkerProcessRow, 'serverName' | 'hostname' | 'appType'>;

/** UTF-8 sorts by code point, JavaScript strings by UTF-16 unit. */
export const compareCodePoints = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b));

/** Whether `a` should lead rather than `b`. The host distinguishes equal server names of two hosts. */
export function isBetter(a: Named, b: Named): boolean {
  if (a.appType !== 'sse_monitor' && a.appType !== 'webapp') return false;
  if (a.appType !== b.appType) return a.appType === 'sse_monitor';
  const byName = compareCodePoints(a.serverName, b.serverName) || compareCodePoints(a.hostname, b.hostname);
  return a.appType === 'sse_monitor' ? byName < 0 : byName > 0;
}
