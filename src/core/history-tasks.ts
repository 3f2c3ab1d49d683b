/** Turns changes into control tasks: the monitor publishes them, and a worker delivers them after a gap. */
import type { HistoryChange, HistoryId, HistoryUpdateTask, SessionId, UserId } from './events.js';

/** Upper bound of histories in one control task, which bounds the size of a message. */
const MAX_HISTORIES_PER_TASK = 1000;

/** @returns the control tasks for the owners of these changes, without histories that have no owner */
export function toTasks(changes: readonly HistoryChange[]): HistoryUpdateTask[] {
  const tasks: HistoryUpdateTask[] = [];
  for (let start = 0; start < changes.length; start += MAX_HISTORIES_PER_TASK) {
    const userUpdates = new Map<UserId, HistoryId[]>();
    const sessionUpdates = new Map<SessionId, HistoryId[]>();
    let updateTime = 0;
    for (const change of changes.slice(start, start + MAX_HISTORIES_PER_TASK)) {
      if (change.userId !== undefined) push(userUpdates, change.userId, change.historyId);
      else for (const sessionId of change.sessionIds) push(sessionUpdates, sessionId, change.historyId);
      if (change.newest > updateTime) updateTime = change.newest;
    }
    if (userUpdates.size + sessionUpdates.size === 0) continue;
    const earlier = new Map(
      changes
        .slice(start, start + MAX_HISTORIES_PER_TASK)
        .filter(({ newest }) => newest < updateTime)
        .map(({ historyId, newest }) => [historyId, updateTime - newest]),
    );
    tasks.push({
      task: 'history_update',
      userUpdates,
      sessionUpdates,
      ...(updateTime > 0 && { updateTime }),
      ...(earlier.size > 0 && { earlier }),
    });
  }
  return tasks;
}

function push<K>(map: Map<K, HistoryId[]>, key: K, historyId: HistoryId): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [historyId]);
  else list.push(historyId);
}
