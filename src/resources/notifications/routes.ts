/** `/api/notifications`: a user's notifications, and sending by an administrator (contract, section 4.3). */
import { Type } from 'typebox';
import { LightconeError } from '../../core/errors.js';
import type { App } from '../../http/app.js';
import { DONE, describeRoute } from '../../http/describe-route.js';
import { decodeId, decodeIds, parseMoment, type RouteContext } from '../callers.js';
import { idParams, moment, paging } from '../schemas.js';
import { ContentCheck } from './content.js';
import type { Draft, Marks, NotificationManager } from './manager.js';
import * as replies from './replies.js';
import {
  type Changes,
  changeManyBody,
  changes,
  createBody,
  deleteManyBody,
  type NotificationBody,
} from './schemas.js';

export interface NotificationRouteDeps extends RouteContext {
  notifications: NotificationManager;
}

const TAG = 'notifications';
const listQuery = Type.Object(paging(20, 1_000));
const statusQuery = Type.Object({
  since: moment,
});

export function registerNotifications(app: App, deps: NotificationRouteDeps): void {
  const { idCodec, notifications } = deps;
  const contents = new ContentCheck();

  app.get(
    '/api/notifications',
    {
      config: { caller: 'anyone' },
      schema: {
        querystring: listQuery,
        ...describeRoute(TAG, "The caller's notifications, newest first", {
          200: Type.Array(replies.userNotification),
        }),
      },
    },
    async (request) => {
      const { userId } = request.caller;
      const { limit = 20, offset = 0 } = request.query;
      return userId === undefined ? [] : notifications.list(userId, { limit, offset });
    },
  );

  app.post(
    '/api/notifications',
    {
      config: { caller: 'admin' },
      schema: {
        body: createBody,
        ...describeRoute(TAG, 'Send to users, groups and roles (administrators)', { 200: replies.sent }),
      },
    },
    async (request) => {
      const { recipients, notification, notifications: several } = request.body;
      if ((notification === undefined) === (several === undefined)) {
        throw notification === undefined
          ? new LightconeError('PARAMETER_MISSING', 'body must have the property notification')
          : new LightconeError('PARAMETER_INVALID', 'body has both notification and notifications; give one');
      }
      const bodies = several ?? [notification!];
      for (const [i, body] of bodies.entries()) {
        await contents.check(body, several ? `/notifications/${i}` : '/notification');
      }
      const { sent, notifications: made } = await notifications.send(
        {
          userIds: decodeIds(idCodec, recipients.user_ids ?? [], 'user'),
          groupIds: decodeIds(idCodec, recipients.group_ids ?? [], 'group'),
          roleIds: decodeIds(idCodec, recipients.role_ids ?? [], 'role'),
        },
        bodies.map(toDraft),
      );
      return several
        ? { total_notifications_sent: sent, notifications: made }
        : { total_notifications_sent: sent, notification: made[0]! };
    },
  );

  app.put(
    '/api/notifications',
    {
      config: { caller: 'user' },
      schema: {
        body: changeManyBody,
        ...describeRoute(TAG, 'Mark several as seen or deleted', { 200: replies.updated }),
      },
    },
    async (request) => {
      const { userId } = request;
      const ids = decodeIds(idCodec, request.body.notification_ids, 'notification');
      return { updated_count: await notifications.mark(userId, ids, toMarks(request.body.changes)) };
    },
  );

  app.delete(
    '/api/notifications',
    {
      config: { caller: 'user' },
      schema: { body: deleteManyBody, ...describeRoute(TAG, 'Delete several', { 200: replies.updated }) },
    },
    async (request) => {
      const { userId } = request;
      const ids = decodeIds(idCodec, request.body.notification_ids, 'notification');
      return { updated_count: await notifications.mark(userId, ids, { deleted: true }) };
    },
  );

  app.get(
    '/api/notifications/status',
    {
      config: { caller: 'anyone' },
      schema: {
        querystring: statusQuery,
        ...describeRoute(TAG, 'New notifications since a moment', { 200: replies.status }),
      },
    },
    async (request, reply) => {
      const since = parseMoment(request.query.since, 'since');
      const { userId } = request.caller;
      reply.type('application/json; charset=utf-8');
      return notifications.status(userId, since);
    },
  );

  app.get(
    '/api/notifications/:id',
    {
      config: { caller: 'user' },
      schema: {
        params: idParams,
        ...describeRoute(TAG, "One of the caller's notifications", { 200: replies.userNotification }),
      },
    },
    async (request) => {
      const { userId } = request;
      return notifications.byId(userId, decodeId(idCodec, request.params.id, 'notification'));
    },
  );

  app.put(
    '/api/notifications/:id',
    {
      config: { caller: 'user' },
      schema: { params: idParams, body: changes, ...describeRoute(TAG, 'Mark as seen or deleted', DONE) },
    },
    async (request, reply) => {
      const { userId } = request;
      const id = decodeId(idCodec, request.params.id, 'notification');
      await notifications.markOne(userId, id, toMarks(request.body));
      return reply.code(204).send();
    },
  );

  app.delete(
    '/api/notifications/:id',
    { config: { caller: 'user' }, schema: { params: idParams, ...describeRoute(TAG, 'Delete', DONE) } },
    async (request, reply) => {
      const { userId } = request;
      const id = decodeId(idCodec, request.params.id, 'notification');
      await notifications.markOne(userId, id, { deleted: true });
      return reply.code(204).send();
    },
  );
}

const toMarks = ({ seen, deleted }: Changes): Marks => ({
  seen: seen ?? undefined,
  deleted: deleted ?? undefined,
});

const toDraft = (body: NotificationBody): Draft => ({
  source: body.source,
  category: body.category,
  variant: body.variant,
  content: { ...body.content, category: body.category },
  ...toTimes(body),
});

/** @throws LightconeError PARAMETER_INVALID */
export const toTimes = (body: {
  publication_time?: string | null;
  expiration_time?: string | null;
}): Pick<Draft, 'publicationTime' | 'expirationTime'> => ({
  publicationTime: body.publication_time ? parseMoment(body.publication_time, 'publication_time') : undefined,
  expirationTime: body.expiration_time ? parseMoment(body.expiration_time, 'expiration_time') : undefined,
});
