/** The registry of event kinds. To add one, write its file and add it here (CONTRIBUTING.md, "Add an event kind"). */
import type { Task } from '../core/events.js';
import { broadcastUpdate } from './broadcast-update.js';
import {
  permissionsChanged,
  reconfigureWatcher,
  subscribeHistoryViewer,
  unsubscribeHistoryViewer,
} from './control.js';
import { entryPointUpdate } from './entry-point-update.js';
import { historyUpdate } from './history-update.js';
import type { CatchUpKind, EventKind, Subject, TaskKind } from './kind.js';
import { marksReached } from './marks-reached.js';
import { notificationStatus } from './notification-status.js';
import { notificationUpdate } from './notification-update.js';

// A registry finds a kind by the name of a task and passes it only such tasks. The types of tasks end here.
// biome-ignore lint/suspicious/noExplicitAny: see above
type AnyTask = any;

export class EventRegistry {
  /** Kinds with an event on the stream. */
  readonly kinds: readonly (EventKind<AnyTask> | CatchUpKind)[];
  readonly events: readonly EventKind<AnyTask>[];
  /** In the order in which a catch-up sends them. */
  readonly catchUps: readonly CatchUpKind[];
  readonly #tasks: ReadonlyMap<string, TaskKind<AnyTask>>;

  constructor(kinds: readonly (TaskKind<AnyTask> | EventKind<AnyTask> | CatchUpKind)[]) {
    this.kinds = kinds.filter((kind) => 'event' in kind);
    this.events = kinds.filter((kind) => 'event' in kind && 'task' in kind) as EventKind<AnyTask>[];
    this.catchUps = kinds.filter((kind) => 'catchUp' in kind && kind.catchUp !== 'never') as CatchUpKind[];
    this.#tasks = new Map(kinds.flatMap((kind) => ('task' in kind ? [[kind.task.name, kind] as const] : [])));
  }

  /** @returns the kind of tasks with this name; undefined for an unknown name */
  ofTask(name: string): TaskKind<Task> | undefined {
    return this.#tasks.get(name);
  }

  /** @returns the event that a worker remembers under this subject; undefined without such a kind */
  eventOf(subject: Subject): string | undefined {
    const remembers = subject > 0 ? 'histories' : subject;
    return this.events.find((kind) => kind.remembers === remembers)?.event;
  }
}

export const KINDS = [
  notificationStatus,
  historyUpdate,
  entryPointUpdate,
  notificationUpdate,
  broadcastUpdate,
  marksReached,
  subscribeHistoryViewer,
  unsubscribeHistoryViewer,
  reconfigureWatcher,
  permissionsChanged,
] as const;

export const EVENTS = new EventRegistry(KINDS);
