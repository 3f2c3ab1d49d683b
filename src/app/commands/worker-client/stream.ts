/** A client of the stream for commands: opens one on the configured worker and reads it. */
import { type IncomingMessage, request } from 'node:http';
import type { HttpConfig } from '../../../config/config.js';
import { LightconeError } from '../../../core/errors.js';
import { socketOf, whereOf } from './address.js';

export type Credential = { 'x-api-key': string } | { cookie: string };

export interface StreamBlock {
  /** Undefined for a comment alone. */
  event: string | undefined;
  data: string;
  id: string | undefined;
  comment: string | undefined;
}

/** Longer than two keepalives of any sensible setting. */
const SILENCE_MS = 150_000;
/** Deadline of the response head. */
const PATIENCE_MS = 5_000;

/**
 * @returns the blocks as they arrive, until the stream ends or `signal` aborts
 * @throws LightconeError the refusal of the worker, or the error of the system
 */
export async function openStream(
  { listen, prefix }: Pick<HttpConfig, 'listen' | 'prefix'>,
  {
    credential,
    lastEventId,
    signal,
  }: { credential: Credential; lastEventId?: string | undefined; signal: AbortSignal },
): Promise<AsyncGenerator<StreamBlock>> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked = request(
      {
        ...socketOf(listen),
        path: `${prefix}/api/events/stream`,
        headers: { ...credential, ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) },
        signal,
      },
      resolve,
    );
    const patience = setTimeout(() => asked.destroy(new Error('it does not answer')), PATIENCE_MS);
    asked.on('error', reject).on('close', () => clearTimeout(patience));
    asked.on('response', () => clearTimeout(patience)).end();
  }).catch((error: NodeJS.ErrnoException) => {
    if (signal.aborted) throw error;
    throw new LightconeError('NOT_NOW', unreachable(error, whereOf(listen)), { cause: error });
  });
  answer.setEncoding('utf8');
  if (answer.statusCode !== 200) throw await refusalOf(answer);
  answer.socket.setTimeout(SILENCE_MS, () => answer.destroy(new Error('it has been silent')));
  return blocksOf(answer);
}

function unreachable({ code, message }: NodeJS.ErrnoException, where: string): string {
  return code === 'ECONNREFUSED' || code === 'ENOENT'
    ? `no worker listens on ${where} of this host; start "lightcone serve", or run this command where it runs, with its settings`
    : `the request to the worker on ${where} failed: ${message}`;
}

async function refusalOf(answer: IncomingMessage): Promise<LightconeError> {
  let text = '';
  for await (const part of answer) text += part;
  const seconds = Number(answer.headers['retry-after']);
  let said = text.slice(0, 200);
  try {
    said = (JSON.parse(text) as { err_msg?: string }).err_msg ?? said;
  } catch {
    // Not an error of Lightcone: shown as it is.
  }
  const sentence = `the stream is refused with ${answer.statusCode}: ${said}`;
  return seconds > 0
    ? new LightconeError('NOT_NOW', sentence, { retryAfterSeconds: seconds })
    : new LightconeError('CONFLICT', sentence);
}

async function* blocksOf(answer: IncomingMessage): AsyncGenerator<StreamBlock> {
  let text = '';
  for await (const part of answer) {
    text += part;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const block = blockOf(text.slice(0, end));
      text = text.slice(end + 2);
      if (block !== undefined) yield block;
    }
  }
}

function blockOf(text: string): StreamBlock | undefined {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line)!;
    fields.set(name!, name === 'data' && fields.has('data') ? `${fields.get('data')}\n${value}` : value!);
  }
  const event = fields.get('event');
  const comment = fields.get('');
  if (event === undefined && comment === undefined) return undefined;
  return { event, data: fields.get('data') ?? '', id: fields.get('id'), comment };
}
