/**
 * `lightcone tail`: prints the events of one user as they are sent. It opens a stream with the user's credentials and
 * writes nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../../config/config.js';
import { LightconeError } from '../../core/errors.js';
import type { Database } from '../../database/port.js';
import { IdCodec } from '../../http/auth/id-codec.js';
import { installationOf } from '../wiring/installation.js';
import { type AdminOptions, withDatabase } from './admin.js';
import { workerFinding } from './doctor/worker.js';
import { whereOf } from './worker-client/address.js';
import { type Credential, openStream, type StreamBlock } from './worker-client/stream.js';

export interface TailOptions extends AdminOptions {
  json: boolean;
  /** Prints a line that is not an event. */
  say: (line: string) => void;
  signal: AbortSignal;
}

const RETRY_SECONDS = [1, 2, 5, 10];

/** Resolves when `signal` aborts. @throws LightconeError the reason why it cannot follow */
export async function tail(config: Config, email: string, options: TailOptions): Promise<void> {
  const { json, print, say, signal } = options;
  if (!config.sse.enabled) {
    throw new LightconeError('CONFIG_INVALID', 'tail: enable_sse_updates is off, so there are no events');
  }
  const { credential, by } = await credentialFor(config, email, options);
  const format = json ? asJson : asLine(new IdCodec(config.auth.idSecret));
  let lastEventId: string | undefined;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const blocks = await openStream(config.http, { credential, lastEventId, signal });
      say(
        lastEventId === undefined
          ? `following ${email} on ${whereOf(config.http.listen)} by ${by}; Ctrl-C ends it`
          : `the stream is open again; missed events come first`,
      );
      let why = 'the worker ended it';
      for await (const block of blocks) {
        failures = 0;
        lastEventId = block.id ?? lastEventId;
        if (block.event !== undefined) print(format(block, new Date()));
        else if (block.comment !== 'keepalive') why = block.comment!;
      }
      say(`the stream has ended: ${why}`);
    } catch (error) {
      if (signal.aborted) return;
      // If the first attempt fails, report it; retry later ones.
      if (lastEventId === undefined || !(error instanceof LightconeError) || error.code !== 'NOT_NOW')
        throw error;
      say(error.message);
    }
    const seconds = RETRY_SECONDS[Math.min(failures, RETRY_SECONDS.length - 1)]!;
    failures += 1;
    await sleep(seconds * 1_000, undefined, { signal }).catch(() => {});
  }
}

/** Credentials of the user: an active session if there is one, otherwise the key. It creates none. */
async function credentialFor(
  config: Config,
  email: string,
  options: AdminOptions,
): Promise<{ credential: Credential; by: string }> {
  let found: { credential: Credential; by: string } | undefined;
  await withDatabase(config, options.logger, async (db) => {
    const { state, text, code } = await workerFinding(config.http, await installationOf(db));
    if (state === 'note') throw new LightconeError('NOT_NOW', `tail: ${text}`);
    if (code !== undefined) throw new LightconeError('CONFLICT', `tail: ${text}`);
    found = await credentialOf(db, email.trim().toLowerCase(), new IdCodec(config.auth.idSecret));
  });
  return found!;
}

/** @throws LightconeError NOT_FOUND without such a user, or without credentials of the user */
async function credentialOf(
  db: Database,
  email: string,
  idCodec: IdCodec,
): Promise<{ credential: Credential; by: string }> {
  const [user] = await db.all<{ id: number }>(
    'SELECT id FROM galaxy_user WHERE lower(email) = $1 AND (deleted IS NULL OR deleted = false)',
    [email],
  );
  if (!user)
    throw new LightconeError('NOT_FOUND', `there is no user ${email}; "lightcone user list" lists all`);
  const [key] = await db.all<{ key: string }>(
    'SELECT key FROM api_keys WHERE user_id = $1 AND (deleted IS NULL OR deleted = false) ORDER BY id DESC LIMIT 1',
    [user.id],
  );
  if (key) return { credential: { 'x-api-key': key.key }, by: 'the API key' };
  const [session] = await db.all<{ session_key: string }>(
    'SELECT session_key FROM galaxy_session WHERE user_id = $1 AND is_valid = true ORDER BY id DESC LIMIT 1',
    [user.id],
  );
  if (!session) {
    throw new LightconeError(
      'NOT_FOUND',
      `${email} has neither an API key nor a valid session, so this user can have no stream; "lightcone user key ${email}" creates a key`,
    );
  }
  return {
    credential: { cookie: `galaxysession=${idCodec.encodeSessionKey(session.session_key)}` },
    by: 'the newest session',
  };
}

const asJson = ({ event, data, id }: StreamBlock, at: Date): string =>
  JSON.stringify({ time: at.toISOString(), event, id, data: JSON.parse(data) });

/** `07:36:21.123  history_update        f2db41e1fa331b3e (history 12)` */
const asLine =
  (idCodec: IdCodec) =>
  ({ event, data, id }: StreamBlock, at: Date): string => {
    const time = at.toTimeString().slice(0, 8) + at.toISOString().slice(19, 23);
    return `${time}  ${event!.padEnd(20)}  ${detailOf(event!, JSON.parse(data), idCodec).replaceAll('\n', ' ')}${id ? `  id ${id}` : ''}`;
  };

// biome-ignore lint/suspicious/noExplicitAny: what each kind of event holds, as docs/stream.md says
function detailOf(event: string, data: any, idCodec: IdCodec): string {
  if (event === 'history_update') {
    return data.history_ids.map((id: string) => `${id} (history ${idCodec.decodeId(id)})`).join(', ');
  }
  if (event === 'notification_update' || event === 'broadcast_update') {
    return `${data.id} ${data.category}: ${data.content?.subject ?? data.content?.item_name ?? ''}`;
  }
  if (event === 'notification_status') {
    return `${data.total_unread_count} unread, ${data.notifications.length} new, ${data.broadcasts.length} broadcasts`;
  }
  return event === 'ready' ? '' : JSON.stringify(data);
}
