/** What a simulated tab shows of one history: it asks as docs/stream.md, "The delta of a history", says. */
import type { HistoryId } from '../../../src/core/events.js';
import { readSince } from '../../../src/resources/histories/contents-since.js';
import type { SimDatabase } from './database.js';
import type { SimulatedTime } from './time.js';
import type { SimWorker } from './world.js';

const ANSWER_WITHIN_MS = 10_000;

export class SimScreen {
  readonly rows = new Map<number, string>();
  private kept = '';
  private readonly waiting: (string | undefined)[] = [];
  private asking = false;

  constructor(
    private readonly time: SimulatedTime,
    private readonly database: SimDatabase,
    readonly historyId: HistoryId,
    /** Asks with the `since` of the last answer, and not with that of each event. */
    private readonly keeps: boolean,
    private readonly anyWorker: () => SimWorker | undefined,
  ) {}

  /** @param token of an event; `null` says that nothing that is held can be relied on */
  changed(token: string | null | undefined): void {
    if (this.keeps) {
      if (token === null) this.kept = '';
      if (!this.waiting.includes(undefined)) this.waiting.push(undefined);
    } else this.waiting.push(token ?? '');
    if (!this.asking) void this.ask();
  }

  private async ask(): Promise<void> {
    this.asking = true;
    while (this.waiting.length > 0) {
      const since = this.waiting.shift() ?? this.kept;
      const { kept } = this;
      for (;;) {
        const answer = await this.answer(since);
        if (answer === undefined) continue;
        if (answer.startOver) this.rows.clear();
        for (const { id, name } of answer.rows) this.rows.set(id, name);
        if (this.kept === kept) this.kept = answer.since ?? '';
        break;
      }
    }
    this.asking = false;
  }

  /** Of some worker, perhaps of one that dies or is frozen, about a database that may be away. */
  private answer(since: string): Promise<Awaited<ReturnType<SimScreen['read']>> | undefined> {
    const { time } = this;
    return new Promise((resolve) => {
      time.after(ANSWER_WITHIN_MS, undefined, () => resolve(undefined));
      const worker = this.anyWorker();
      if (!worker?.manager.ready) {
        time.after(500, undefined, () => resolve(undefined));
        return;
      }
      time.after(time.between(0, 50), worker.process, () => {
        this.read(since, worker).then(
          (answer) => time.after(time.between(0, 50), undefined, () => resolve(answer)),
          () => time.after(500, undefined, () => resolve(undefined)),
        );
      });
    });
  }

  /** As `HistoryContents.since` does, with the statement of the simulated database. */
  private async read(since: string, { manager }: SimWorker) {
    const { from, moment, startOver, next } = readSince(since, manager.moments);
    const isWhole = manager.moments.isWhole(moment);
    const rows = await this.database.contentsSince(this.historyId, from, isWhole);
    return { rows, startOver, since: next };
  }
}
