/** Checks whether a worker answers at the configured address, and its `/readyz`. */
import { request } from 'node:http';
import type { HttpConfig } from '../../../config/config.js';
import { socketOf, whereOf } from '../worker-client/address.js';
import { PATIENCE_MS } from './database.js';
import { type Finding, note, ok, problem } from './finding.js';

/** @param installation the identity of our own database; undefined if it was not reached */
export async function workerFinding(
  { listen, prefix }: HttpConfig,
  installation: string | undefined,
): Promise<Finding> {
  const where = whereOf(listen);
  try {
    const answer = await readiness(listen, `${prefix}/wellz`);
    const { well, problems = [] } = answer;
    if (well === undefined) {
      return problem(`the program on ${where} does not answer as Lightcone does`, 'no_answer');
    }
    if (installation && answer.installation && answer.installation !== installation) {
      return problem(
        `the worker at ${where} belongs to another installation: it serves another database than these settings; set another address in sse.listen, or stop that worker`,
        'other_installation',
      );
    }
    if (well) return ok(`the worker at ${where} is ready and has no problems`);
    return problem(`the worker at ${where} has problems: ${problems.join('; ') || 'it gives no reason'}`);
  } catch (error) {
    const { code, message, name } = error as NodeJS.ErrnoException;
    if (name === 'AbortError') {
      return problem(
        `the program on ${where} does not answer: it is frozen or too busy; restart it`,
        'no_answer',
      );
    }
    if (code === 'ECONNREFUSED' || code === 'ENOENT') {
      return note(`nothing listens on ${where} of this host; start "lightcone serve" where it should run`);
    }
    return problem(`the program on ${where} does not answer as Lightcone does: ${message}`, 'no_answer');
  }
}

function readiness(
  listen: HttpConfig['listen'],
  path: string,
): Promise<{ well?: boolean; problems?: string[]; installation?: string | null }> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { ...socketOf(listen), path, signal: AbortSignal.timeout(PATIENCE_MS) },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        answer.on('error', reject).on('end', () => {
          try {
            resolve(JSON.parse(text));
          } catch {
            reject(new Error(`HTTP ${answer.statusCode} without JSON`));
          }
        });
      },
    );
    asked.on('error', reject).end();
  });
}
