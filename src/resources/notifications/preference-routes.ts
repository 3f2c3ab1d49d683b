/** `/api/notifications/preferences`: the categories and channels of a user. */
import type { FastifyReply } from 'fastify';
import type { App } from '../../http/app.js';
import { describeRoute } from '../../http/describe-route.js';
import * as replies from './replies.js';
import type { NotificationRouteDeps } from './routes.js';
import { preferencesBody } from './schemas.js';

const TAG = 'notification preferences';

export function registerPreferences(app: App, { notifications }: NotificationRouteDeps): void {
  const url = '/api/notifications/preferences';
  // E-mail is selectable, so that the choice survives a move to Galaxy, but Lightcone sends none.
  const sayChannels = (reply: FastifyReply) => reply.headers({ 'supported-channels': 'push' });

  app.get(
    url,
    {
      config: { caller: 'user' },
      schema: describeRoute(TAG, 'The own choice', { 200: replies.preferences }),
    },
    async (request, reply) => {
      const { userId } = request;
      sayChannels(reply);
      return { preferences: await notifications.preferences(userId) };
    },
  );

  app.put(
    url,
    {
      config: { caller: 'user' },
      schema: {
        body: preferencesBody,
        ...describeRoute(TAG, 'Change preferences; those that are not given stay unchanged', {
          200: replies.preferences,
        }),
      },
    },
    async (request, reply) => {
      const { userId } = request;
      const choice = Object.fromEntries(
        Object.entries(request.body.preferences).map(([category, { enabled, channels }]) => [
          category,
          { enabled, channels: { push: channels.push, email: channels.email ?? true } },
        ]),
      );
      sayChannels(reply);
      return { preferences: await notifications.updatePreferences(userId, choice) };
    },
  );
}
