/** Whether a worker answers where the settings say, and what its `/readyz` says. */
import { request } from 'node:http';
import type { HttpConfig } from '../../config/config.js';
import { PATIENCE_MS } from './database.js';
import { type Finding, note, ok, problem } from './finding.js';

export async function workerFinding({ listen, prefix }: HttpConfig): Promise<Finding> {
  const where = listen.kind === 'unix' ? `unix:${listen.path}` : `${listen.host}:${listen.port}`;
  try {
    const { ready, problems = [] } = await readiness(listen, `${prefix}/readyz`);
    if (ready) return ok(`the one at ${where} is ready`);
    return problem(`the one at ${where} is not ready: ${problems.join('; ') || 'it does not say why'}`);
  } catch (error) {
    const { code, message, name } = error as NodeJS.ErrnoException;
    if (name === 'AbortError') {
      return problem(`what listens on ${where} does not answer: it is frozen, or too busy; restart it`);
    }
    if (code === 'ECONNREFUSED' || code === 'ENOENT') {
      return note(`none listens on ${where} of this host; start "lightcone serve" where it should run`);
    }
    return problem(`what listens on ${where} does not answer as Lightcone does: ${message}`);
  }
}

function readiness(
  listen: HttpConfig['listen'],
  path: string,
): Promise<{ ready?: boolean; problems?: string[] }> {
  const address =
    listen.kind === 'unix'
      ? { socketPath: listen.path }
      : { host: reachable(listen.host), port: listen.port };
  return new Promise((resolve, reject) => {
    const asked = request({ ...address, path, signal: AbortSignal.timeout(PATIENCE_MS) }, (answer) => {
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
    });
    asked.on('error', reject).end();
  });
}

/** Addresses that mean "all of this host's" cannot be called everywhere. */
const reachable = (host: string): string => (host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host);
