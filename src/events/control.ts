/** Control tasks without an event. They change the state of a worker. */
import type { HistoryViewerTask, PermissionsChangedTask, ReconfigureWatcherTask } from '../core/events.js';
import { encodedId, id, isAbsent, owner } from './fields.js';
import { historyFrames } from './history-update.js';
import type { TaskKind } from './kind.js';
import type { JsonValue } from './python-json.js';

const viewerTask = (name: HistoryViewerTask['task']): TaskKind<HistoryViewerTask> => ({
  task: {
    name,
    read: (kwargs) => ({ task: name, historyId: encodedId(kwargs), ...owner(kwargs) }),
    write({ historyId, userId, sessionId }) {
      const kwargs = new Map<string, JsonValue>([['history_id', historyId]]);
      if (userId !== undefined) kwargs.set('user_id', userId);
      if (sessionId !== undefined) kwargs.set('session_id', sessionId);
      return kwargs;
    },
  },
  deliver({ historyId, ...viewer }, streams) {
    const id = streams.decodeId(historyId);
    if (id === undefined) return undefined;
    if (name === 'unsubscribe_history_viewer') {
      streams.unsubscribe(viewer, id);
      return undefined;
    }
    // The worker does not know what the tab missed before it subscribed, so the tab starts over with this history.
    const frames = historyFrames([id], undefined, streams, null);
    for (const stream of streams.subscribe(viewer, id)) streams.to(stream, frames);
    return undefined;
  },
});

export const subscribeHistoryViewer = viewerTask('subscribe_history_viewer');
export const unsubscribeHistoryViewer = viewerTask('unsubscribe_history_viewer');

/** The election handles it. */
export const reconfigureWatcher: TaskKind<ReconfigureWatcherTask> = {
  task: {
    name: 'reconfigure_watcher',
    read: () => ({ task: 'reconfigure_watcher' }),
    write: () => new Map(),
  },
  deliver: () => undefined,
};

export const permissionsChanged: TaskKind<PermissionsChangedTask> = {
  task: {
    name: 'permissions_changed',
    read: (kwargs) => ({
      task: 'permissions_changed',
      ...(isAbsent(kwargs.session_id) ? {} : { sessionId: id('session_id', kwargs.session_id) }),
      ...(isAbsent(kwargs.history_id) ? {} : { historyId: encodedId(kwargs) }),
    }),
    write({ sessionId, historyId }) {
      const kwargs = new Map<string, JsonValue>();
      if (sessionId !== undefined) kwargs.set('session_id', sessionId);
      if (historyId !== undefined) kwargs.set('history_id', historyId);
      return kwargs;
    },
  },
  deliver({ sessionId, historyId }, streams) {
    streams.recheck({
      sessionId,
      historyId: historyId === undefined ? undefined : streams.decodeId(historyId),
    });
    return undefined;
  },
};
