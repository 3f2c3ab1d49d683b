/** `/api/notifications/broadcast`: messages to everybody, including visitors. */
import { Type } from 'typebox';
import type { App } from '../../http/app.js';
import { DONE, describeRoute } from '../../http/describe-route.js';
import { decodeId } from '../callers.js';
import { idParams } from '../schemas.js';
import * as replies from './replies.js';
import { type NotificationRouteDeps, toTimes } from './routes.js';
import { createBroadcastBody, updateBroadcastBody } from './schemas.js';

const TAG = 'broadcasts';

export function registerBroadcasts(app: App, { idCodec, notifications }: NotificationRouteDeps): void {
  const url = '/api/notifications/broadcast';

  app.get(
    url,
    {
      config: { caller: 'anyone' },
      schema: describeRoute(TAG, 'Current broadcasts; administrators also see future and expired ones', {
        200: Type.Array(replies.notification),
      }),
    },
    async (request) => {
      const { isAdmin } = request.caller;
      return notifications.broadcasts(isAdmin);
    },
  );

  app.post(
    url,
    {
      config: { caller: 'admin' },
      schema: {
        body: createBroadcastBody,
        ...describeRoute(TAG, 'Send a broadcast, now or later (administrators)', {
          200: replies.sentBroadcast,
        }),
      },
    },
    async (request) => {
      const { source, variant, content } = request.body;
      const notification = await notifications.broadcast({
        source,
        variant,
        content,
        ...toTimes(request.body),
      });
      return { total_notifications_sent: 1 as const, notification };
    },
  );

  app.get(
    `${url}/:id`,
    {
      config: { caller: 'anyone' },
      schema: { params: idParams, ...describeRoute(TAG, 'One broadcast', { 200: replies.notification }) },
    },
    async (request) => {
      const { isAdmin } = request.caller;
      return notifications.broadcastById(decodeId(idCodec, request.params.id, 'notification'), isAdmin);
    },
  );

  app.put(
    `${url}/:id`,
    {
      config: { caller: 'admin' },
      schema: {
        params: idParams,
        body: updateBroadcastBody,
        ...describeRoute(TAG, 'Change (administrators)', DONE),
      },
    },
    async (request, reply) => {
      const { source, variant, content } = request.body;
      await notifications.editBroadcast(decodeId(idCodec, request.params.id, 'notification'), {
        ...(source !== undefined && { source }),
        ...(variant !== undefined && { variant }),
        ...(content !== undefined && { content }),
        ...toTimes(request.body),
      });
      return reply.code(204).send();
    },
  );
}
