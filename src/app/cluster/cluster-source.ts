/** The installation as a worker knows it: the notices it received, and the answers of the others. */
import { randomUUID } from 'node:crypto';
import type { NoticePublisher } from '../../bus/port.js';
import type { ConnectionManager } from '../../connections/manager.js';
import { compareStreams, listStreams } from '../../connections/tabs/open-streams.js';
import type {
  AskStreamsNotice,
  Notice,
  ProcessNotice,
  StreamQuestion,
  StreamsNotice,
} from '../../core/notices.js';
import type {
  ClusterNow,
  ClusterSource,
  History,
  HistoryBucket,
  StreamPage,
  Told,
} from '../../http/routes/cluster-source.js';
import type { Clock } from '../../lib/clock.js';
import { Cluster } from './cluster.js';

/** A worker answers within a few milliseconds, or is too busy. */
const PATIENCE_MS = 1_500;
const MOST_TOLD = 200;
/** Older questions are refused by their age. */
const MOST_ANSWERED = 1_000;

interface Waiting {
  answers: Map<string, StreamsNotice>;
  heard: () => void;
}

export class WorkerClusterSource implements ClusterSource {
  private readonly cluster: Cluster;
  private readonly listeners = new Set<(bucket: HistoryBucket | undefined) => void>();
  private readonly waiting = new Map<string, Waiting>();
  /** Rejects replayed questions, because an answer reads all streams. */
  private readonly answered = new Set<string>();

  constructor(
    private readonly options: {
      clock: Clock;
      bus: NoticePublisher;
      manager: ConnectionManager;
      /** Key of this process. */
      key: () => string;
    },
  ) {
    this.cluster = new Cluster(options.clock, options.key);
  }

  // --- what comes ------------------------------------------------------------------------------------------------------

  /** The notice of this process itself, once a second. */
  onOwnNotice(notice: ProcessNotice): void {
    this.cluster.accept(notice);
    const bucket = this.cluster.everySecond();
    for (const listener of this.listeners) listener(bucket);
  }

  /** A notice from the bus. The process's own come back as well, and were handled before. */
  onNotice(notice: Notice): void {
    switch (notice.notice) {
      case 'process':
        this.cluster.accept(notice);
        return;
      case 'ask_streams':
        this.answerOnce(notice);
        return;
      case 'streams': {
        const waiting = this.waiting.get(notice.question);
        waiting?.answers.set(notice.process, notice);
        waiting?.heard();
        return;
      }
      case 'close_stream':
        if (notice.process === this.options.key()) this.options.manager.closeById(notice.id);
    }
  }

  private answerOnce({ question, streams }: AskStreamsNotice): void {
    if (this.answered.has(question)) return;
    this.answered.add(question);
    if (this.answered.size > MOST_ANSWERED) this.answered.delete(this.answered.keys().next().value!);
    // Its own question, which came back. A lost answer shows as a silent worker.
    if (!this.waiting.has(question)) {
      void this.options.bus.publishNotice(this.answer(question, streams)).catch(() => {});
    }
  }

  private answer(question: string, asked: StreamQuestion): StreamsNotice {
    const process = this.options.key();
    const { total, streams } = listStreams(this.options.manager.registry.all, process, asked);
    return { notice: 'streams', question, process, total, streams };
  }

  // --- what is asked ---------------------------------------------------------------------------------------------------

  now(): ClusterNow {
    return this.cluster.now();
  }

  history(): History {
    return this.cluster.history();
  }

  onSecond(listener: (bucket: HistoryBucket | undefined) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async streams(asked: StreamQuestion): Promise<StreamPage> {
    const question = randomUUID();
    const self = this.options.key();
    const others = this.cluster.workers().filter((key) => key !== self);
    const answers = new Map([[self, this.answer(question, asked)]]);
    if (others.length > 0) await this.ask(question, asked, answers, others);
    const all = [...answers.values()].flatMap(({ process, streams }) =>
      streams.map((stream) => ({ ...stream, process, name: this.cluster.nameOf(process) })),
    );
    return {
      total: [...answers.values()].reduce((sum, { total }) => sum + total, 0),
      streams: all.sort(compareStreams).slice(0, asked.limit),
      silent: others.filter((key) => !answers.has(key)).map((key) => this.cluster.nameOf(key)),
    };
  }

  private async ask(
    question: string,
    streams: StreamQuestion,
    answers: Map<string, StreamsNotice>,
    others: readonly string[],
  ): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    try {
      const answered = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, PATIENCE_MS);
        const heard = (): void => {
          if (others.every((key) => answers.has(key))) resolve();
        };
        this.waiting.set(question, { answers, heard });
      });
      await this.options.bus.publishNotice({ notice: 'ask_streams', question, streams });
      await answered;
    } catch {
      // The bus is unavailable, so all others are silent.
    } finally {
      clearTimeout(timer);
      this.waiting.delete(question);
    }
  }

  async closeStream(process: string, id: number): Promise<boolean> {
    if (process === this.options.key()) return this.options.manager.closeById(id);
    if (!this.cluster.has(process)) return false;
    await this.options.bus.publishNotice({ notice: 'close_stream', process, id });
    return true;
  }

  toldTo(userId: number): Told[] {
    return this.options.manager.recent.list(userId, MOST_TOLD);
  }
}
