/** Where the hub lives, for the tabs that share it: a SharedWorker, the leading tab, or the only tab there is. */
import { Hub } from './hub.js';
import type { FromHub, StreamEvent, StreamSettings, ToHub } from './messages.js';

/** So many events are kept for a tab that was frozen, or comes to another hub. */
export const REMEMBERED = 200;
/** A tab in view says that it is alive every 5 s, a hidden one at least once a minute. */
const SILENT_TAB_MS = 150_000;
const SWEEP_MS = 30_000;

interface TabEntry {
  watched: readonly string[];
  visible: boolean;
  heardAt: number;
}

/** What a tab hands on when it begins to lead. */
export interface Remembered {
  seq: number;
  events: StreamEvent[];
}

export class Host {
  readonly #hub: Hub;
  readonly #tabs = new Map<string, TabEntry>();
  #seq: number;
  readonly #events: StreamEvent[];
  readonly #sweep: ReturnType<typeof setInterval>;
  #sweptAt = Date.now();

  /** @param send reaches every tab; a message with `to` is for that one */
  constructor(
    settings: StreamSettings,
    private readonly send: (message: FromHub) => void,
    private readonly onEmpty: () => void,
    remembered: Remembered = { seq: 0, events: [] },
    confirm?: () => Promise<unknown>,
  ) {
    // A tab without a number yet counts from 0: what it misses it must be able to ask for.
    this.#seq = Math.max(0, remembered.seq);
    this.#events = [...remembered.events];
    this.#hub = new Hub(settings, {
      onEvent: (name, data, id) => this.#event(name, data, id),
      // A host that ends tells nobody: its tabs find another, and are not stopped.
      onState: () => this.#tabs.size > 0 && this.send(this.#stateMessage()),
      onRefused: (historyId, status) => this.send({ t: 'refused', historyId, status }),
      confirm,
    });
    this.#sweep = setInterval(() => this.#forgetSilentTabs(), SWEEP_MS);
    (this.#sweep as { unref?: () => void }).unref?.();
  }

  receive(message: ToHub): void {
    const { tab } = message;
    const entry = this.#tabs.get(tab);
    if (entry) entry.heardAt = Date.now();
    switch (message.t) {
      case 'hello':
        this.#hello(message);
        break;
      case 'watch':
        if (!entry) break;
        entry.watched = message.watched;
        if (message.visible && !entry.visible) this.#hub.wake();
        entry.visible = message.visible;
        this.#watch();
        break;
      case 'alive':
        // A tab that is not known (any more) has missed whatever there was: it introduces itself.
        this.send({ t: 'alive', to: tab, seq: entry ? this.#seq : Infinity, cursor: this.#hub.cursor });
        break;
      case 'wake':
        this.#hub.wake();
        break;
      case 'bye':
        this.#forget(tab);
    }
  }

  close(): void {
    this.#tabs.clear();
    clearInterval(this.#sweep);
    this.#hub.close();
  }

  #hello({ tab, seq, cursor, watched, visible }: ToHub & { t: 'hello' }): void {
    this.#tabs.set(tab, { watched, visible, heardAt: Date.now() });
    this.#watch();
    if (this.#hub.state === 'stopped') {
      // The first tab begins where it stopped; a hub that was refused tries again for whoever comes.
      this.#seq = Math.max(this.#seq, seq);
      this.#hub.open(cursor);
    } else if (seq >= 0) {
      this.#replay(tab, seq, cursor);
    }
    this.send({ ...this.#stateMessage(), to: tab });
  }

  /** Tells a tab that was away what it missed. */
  #replay(tab: string, seq: number, cursor: string): void {
    if (seq > this.#seq) {
      // It knows more than this hub: its numbers go on, and the events that it has already come again.
      this.#seq = seq;
      return;
    }
    const missed = this.#events.filter((event) => event.seq > seq);
    if (missed.length === this.#seq - seq)
      for (const event of missed) this.send({ t: 'event', to: tab, ...event });
    else this.#hub.resumeFrom(cursor);
  }

  #event(name: string, data: string, id: string): void {
    this.#seq += 1;
    const event = { seq: this.#seq, name, data, id };
    this.#events.push(event);
    if (this.#events.length > REMEMBERED) this.#events.shift();
    this.send({ t: 'event', ...event });
  }

  #watch(): void {
    const watched = new Set<string>();
    let visible = false;
    for (const entry of this.#tabs.values()) {
      for (const id of entry.watched) watched.add(id);
      visible ||= entry.visible;
    }
    this.#hub.watch(watched, visible);
  }

  #forget(tab: string): void {
    if (!this.#tabs.delete(tab)) return;
    if (this.#tabs.size > 0) {
      this.#watch();
      return;
    }
    this.close();
    this.onEmpty();
  }

  #forgetSilentTabs(): void {
    const now = Date.now();
    const slept = Math.abs(now - this.#sweptAt) > 2 * SWEEP_MS;
    this.#sweptAt = now;
    for (const [tab, entry] of this.#tabs) {
      // A computer that was asleep, where no tab could speak; or whose clock was set.
      if (slept) entry.heardAt = now;
      else if (now - entry.heardAt > SILENT_TAB_MS) this.#forget(tab);
    }
  }

  #stateMessage(): FromHub & { t: 'state' } {
    const { state, reason, cursor } = this.#hub;
    return { t: 'state', state, reason, seq: this.#seq, cursor };
  }
}
