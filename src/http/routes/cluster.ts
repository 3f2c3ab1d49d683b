/**
 * The routes of the status page: the whole installation as a stream, once a second, and its open streams, page by page.
 */
import { Type } from 'typebox';
import { LightconeError } from '../../core/errors.js';
import { MOST_STREAMS_A_PAGE, type StreamPlace, TAB_STATES } from '../../core/notices.js';
import type { Accounts } from '../../database/port.js';
import type { EventRegistry } from '../../events/registry.js';
import { formatIso } from '../../lib/time.js';
import type { App } from '../app.js';
import type { Authentication } from '../auth/authentication.js';
import type { IdCodec } from '../auth/id-codec.js';
import type { ClusterSource } from './cluster-source.js';
import { StatusWatchers } from './status-watchers.js';

export interface ClusterRouteDeps {
  authenticator: Pick<Authentication, 'recheck'>;
  accounts: Pick<Accounts, 'emailsOf'> & { userIdOf(email: string): Promise<number | undefined> };
  idCodec: IdCodec;
  source: ClusterSource;
  kinds: Pick<EventRegistry, 'eventOf'>;
}

const ROWS = 50;
const WHO = Type.String({ minLength: 1, maxLength: 255 });
const STREAM = /^(\d{1,15})~(.{1,250})$/;
const PLACE = /^(\d{1,15})~(\d{1,15})~(.{1,250})$/;

export function registerCluster(
  app: App,
  { authenticator, accounts, idCodec, source, kinds }: ClusterRouteDeps,
): void {
  const watchers = new StatusWatchers(source, authenticator);
  app.addHook('preClose', async () => watchers.endAll());

  // For the page only, so hidden from the API document.
  const ofAdmins = { caller: 'admin' } as const;
  const hidden = { hide: true };

  app.get(
    '/api/status/live',
    { config: ofAdmins, schema: hidden, exposeHeadRoute: false },
    async (request, reply) => {
      watchers.admit();
      reply.hijack();
      watchers.begin(request.caller, reply.raw);
    },
  );

  const query = Type.Object({
    user: Type.Optional(WHO),
    address: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    state: Type.Optional(Type.Union(TAB_STATES.map((state) => Type.Literal(state)))),
    after: Type.Optional(Type.String({ maxLength: 300 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MOST_STREAMS_A_PAGE })),
  });
  app.get(
    '/api/status/streams',
    { config: ofAdmins, schema: { ...hidden, querystring: query } },
    async (request) => {
      const { user, address, state, after, limit = ROWS } = request.query;
      const page = await source.streams({
        limit,
        ...(user !== undefined && { userId: await userOf(user) }),
        ...(address !== undefined && { address }),
        ...(state !== undefined && { state }),
        ...(after !== undefined && { after: placeOf(after) }),
      });
      const emails = await emailsOf(page.streams.flatMap(({ userId }) => userId ?? []));
      const last = page.streams.at(-1);
      return {
        total: page.total,
        silent: page.silent,
        next:
          last === undefined || page.streams.length < limit
            ? null
            : `${last.openedAt}~${last.id}~${last.process}`,
        streams: page.streams.map(({ id, process, name, userId, openedAt, ...told }) => ({
          stream: `${id}~${process}`,
          process: name,
          opened_at: openedAt,
          user: userId === null ? null : { id: idCodec.encodeId(userId), email: emails.get(userId) ?? null },
          ...told,
        })),
      };
    },
  );

  const stream = Type.Object({ stream: Type.String({ maxLength: 300 }) });
  app.delete(
    '/api/status/streams',
    { config: ofAdmins, schema: { ...hidden, querystring: stream } },
    async (request, reply) => {
      const [, id, process] = STREAM.exec(request.query.stream) ?? [];
      if (process === undefined || !(await source.closeStream(process, Number(id))))
        throw new LightconeError('NOT_FOUND', 'there is no such stream any more');
      const { userId } = request.caller;
      request.log.info(
        { stream: request.query.stream, by: userId ?? 'bootstrap key' },
        'stream closed by an administrator',
      );
      return reply.code(204).send();
    },
  );

  const who = Type.Object({ user: WHO });
  app.get(
    '/api/status/told',
    { config: ofAdmins, schema: { ...hidden, querystring: who } },
    async (request) => {
      const userId = await userOf(request.query.user);
      return {
        user: { id: idCodec.encodeId(userId), email: (await emailsOf([userId])).get(userId) ?? null },
        told: source.toldTo(userId).map(({ at, updateTime, subject }) => ({
          at: formatIso(at),
          update_time: updateTime === 0 ? null : formatIso(updateTime),
          event: kinds.eventOf(subject) ?? null,
          history_id: subject > 0 ? idCodec.encodeId(subject) : null,
        })),
      };
    },
  );

  async function userOf(text: string): Promise<number> {
    const userId = text.includes('@') ? await accounts.userIdOf(text) : idCodec.decodeId(text);
    if (userId === undefined) throw new LightconeError('NOT_FOUND', `there is no user ${text}`);
    return userId;
  }

  /** While the database is unavailable, users are shown by their ids. */
  const emailsOf = (ids: readonly number[]): Promise<Map<number, string>> =>
    accounts.emailsOf([...new Set(ids)]).catch(() => new Map());
}

function placeOf(text: string): StreamPlace {
  const [, openedAt, id, process] = PLACE.exec(text) ?? [];
  if (process === undefined) throw new LightconeError('PARAMETER_INVALID', 'after is no place in the list');
  return { openedAt: Number(openedAt), id: Number(id), process };
}
