/** What a tab shows that keeps to the protocol of docs/stream.md, "The delta of a history". */
import { historyIds, type SseClient } from '../support/sse-client.js';

interface Delta {
  since: string | null;
  up_to_date: boolean;
  start_over: boolean;
  contents: { type_id: string; name: string }[];
}

/** Both are right: to ask with the `since` of each event, and with that of the last answer. */
export type Rule = 'since of the event' | 'since of the answer';

/** One history on one tab. */
export class Screen {
  readonly rows = new Map<string, string>();
  loads = 0;
  private done = 0;
  private waiting: string[] = [''];
  private kept = '';
  private asking: Promise<void> | undefined;
  private readonly over = new AbortController();

  constructor(
    readonly name: string,
    private readonly client: SseClient,
    readonly encoded: string,
    private readonly rule: Rule,
    /** Any worker, with the key in the query. */
    private readonly url: () => { base: string; key: string },
  ) {}

  /** Called often: looks at the events that came. */
  follow(): void {
    const { frames } = this.client;
    for (; this.done < frames.length; this.done += 1) {
      const frame = frames[this.done]!;
      if (!historyIds(frame).includes(this.encoded)) continue;
      const { since } = JSON.parse(frame.data!) as { since?: Record<string, string | null> };
      const token = since?.[this.encoded] ?? null;
      if (this.rule === 'since of the event') this.add(token ?? '');
      else {
        if (token === null) this.kept = '';
        this.add('kept');
      }
    }
    if (this.waiting.length > 0 && !this.over.signal.aborted) {
      this.asking ??= this.ask().finally(() => {
        this.asking = undefined;
      });
    }
  }

  async close(): Promise<void> {
    this.over.abort();
    await this.asking;
  }

  private add(token: string): void {
    if (this.waiting.at(-1) !== token) this.waiting.push(token);
  }

  private async ask(): Promise<void> {
    const { signal } = this.over;
    while (this.waiting.length > 0 && !signal.aborted) {
      const wanted = this.waiting[0]!;
      let since = wanted === 'kept' ? this.kept : wanted;
      // What comes from now on is asked for once more.
      this.waiting.shift();
      const { kept } = this;
      for (let upToDate = false; !upToDate && !signal.aborted; ) {
        const delta = await this.get(since, signal);
        if (delta === undefined) continue;
        if (delta.start_over) this.rows.clear();
        for (const { type_id, name } of delta.contents) this.rows.set(type_id, name);
        since = delta.since ?? '';
        upToDate = delta.up_to_date;
      }
      // An event may have said to start over meanwhile.
      if (this.kept === kept) this.kept = since;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** @returns undefined where nobody answers */
  private async get(since: string, signal: AbortSignal): Promise<Delta | undefined> {
    const { base, key } = this.url();
    try {
      const answer = await fetch(
        `${base}/api/histories/${this.encoded}/contents?limit=4&since=${since}&key=${key}`,
        { signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]) },
      );
      this.loads += 1;
      if (answer.ok) return (await answer.json()) as Delta;
      await answer.arrayBuffer();
    } catch {
      // Dead, frozen or just stopping: another one is asked.
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    return undefined;
  }
}
