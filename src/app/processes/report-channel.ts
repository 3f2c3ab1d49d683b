/** How the supervisor learns what its workers tell of themselves: a question and an answer over node:cluster's channel. */
import type { Worker as Child } from 'node:cluster';
import type { ProcessReport } from './metrics-server.js';

/** A worker that is frozen, or very busy. */
const PATIENCE_MS = 2_000;
const QUESTION = { lightcone: 'report?' };

interface Message {
  lightcone?: string;
  report?: ProcessReport;
}

/** In a worker. */
export function answerSupervisor(report: () => ProcessReport): void {
  process.on('message', (message: Message) => {
    if (message?.lightcone === QUESTION.lightcone) process.send?.({ lightcone: 'report', report: report() });
  });
  // A listener holds the channel, and the channel the process.
  process.channel?.unref();
}

/** In the supervisor: one report for each, also of those that do not answer. */
export const askWorkers = (children: readonly Child[]): Promise<ProcessReport[]> =>
  Promise.all(children.map(ask));

function ask(child: Child): Promise<ProcessReport> {
  return new Promise((resolve) => {
    const done = (report: ProcessReport): void => {
      clearTimeout(timer);
      child.off('message', onMessage);
      resolve(report);
    };
    const onMessage = ({ lightcone, report }: Message = {}): void => {
      if (lightcone === 'report' && report) done(report);
    };
    const silent = {
      process: `worker ${child.id}`,
      totals: [],
      ready: false,
      problems: ['it does not answer'],
    };
    const timer = setTimeout(() => done(silent), PATIENCE_MS);
    child.on('message', onMessage);
    if (child.isConnected()) child.send(QUESTION, (error) => error && done(silent));
    else done(silent);
  });
}
