/** Promises that a write is out: the server is asked for it, and the stream tells. */
import { request } from './http.js';
import type { StreamSettings } from './messages.js';
import type { State } from './states.js';

const PATH = 'api/events/marks';
/** The server forgets, and so may a stream that lost events: it is asked again. */
const AGAIN_MS = 10_000;
const MOST_AT_ONCE = 50;

export class Marks {
  readonly #waiting = new Map<string, ((included: boolean) => void)[]>();
  #state: State = 'connecting';
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly settings: () => StreamSettings) {}

  wait(mark: string): Promise<boolean> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(mark);
      if (waiting) waiting.push(resolve);
      else this.#waiting.set(mark, [resolve]);
      if (this.#state === 'polling' || this.#state === 'stopped') this.#answer([mark], false);
      else if (this.#state === 'live') void this.#ask([mark]);
    });
  }

  told({ marks, start_over }: { marks: string[]; start_over: boolean }): void {
    this.#answer(marks, !start_over);
  }

  /** Each stream has to be asked anew; without one nobody tells. */
  moved(state: State): void {
    this.#state = state;
    clearTimeout(this.#again);
    if (state === 'live') void this.#ask([...this.#waiting.keys()]);
    else if (state === 'stopped' || state === 'polling') this.#answer([...this.#waiting.keys()], false);
  }

  #answer(marks: readonly string[], included: boolean): void {
    for (const mark of marks) {
      for (const resolve of this.#waiting.get(mark) ?? []) resolve(included);
      this.#waiting.delete(mark);
    }
  }

  async #ask(marks: string[]): Promise<void> {
    for (let start = 0; start < marks.length; start += MOST_AT_ONCE) {
      const some = marks.slice(start, start + MOST_AT_ONCE);
      const { status } = await request(this.settings(), PATH, {
        method: 'POST',
        body: JSON.stringify({ marks: some }),
      });
      // A server that does not know the question, or the mark.
      if (status >= 400 && status < 500 && status !== 429) this.#answer(some, false);
    }
    clearTimeout(this.#again);
    if (this.#waiting.size === 0 || this.#state !== 'live') return;
    this.#again = setTimeout(() => void this.#ask([...this.#waiting.keys()]), AGAIN_MS);
    (this.#again as { unref?: () => void }).unref?.();
  }
}
