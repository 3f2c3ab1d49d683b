/** Collects the reports of workers for the supervisor: a question and an answer over node:cluster's channel. */
import type { Worker as Child } from 'node:cluster';
import type { ProcessReport } from './metrics-server.js';

/** Deadline for a frozen or very busy worker. */
const PATIENCE_MS = 2_000;
const QUESTION = { lightcone: 'report?' };

interface Message {
  lightcone?: string;
  report?: ProcessReport;
}

/** Runs in a worker. */
export function answerSupervisor(report: () => ProcessReport): void {
  process.on('message', (message: Message) => {
    if (message?.lightcone === QUESTION.lightcone) process.send?.({ lightcone: 'report', report: report() });
  });
  // A listener keeps the channel alive, and the channel the process.
  process.channel?.unref();
}

/** Runs in the supervisor. One report for each worker, even for one that does not answer. */
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
