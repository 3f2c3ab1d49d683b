/** Routes that decide who else may see a history. */
import { Type } from 'typebox';
import type { App } from '../../http/app.js';
import { describeRoute } from '../../http/describe-route.js';
import { decodeId } from '../callers.js';
import { idParams, paging, text } from '../schemas.js';
import { marked } from '../written.js';
import type { HistoryChange } from './manager.js';
import * as replies from './replies.js';
import type { HistoryRouteDeps } from './routes.js';

const TAG = 'sharing of histories';
const query = Type.Object(paging(100, 1_000));
const shareBody = Type.Object(
  {
    user_ids: Type.Array(text(255, 1), {
      maxItems: 1_000,
      description: 'encoded user ids or e-mail addresses',
    }),
  },
  { examples: [{ user_ids: ['bob@example.org'] }] },
);

const SWITCHES: Readonly<Record<string, [HistoryChange, summary: string]>> = {
  publish: [{ published: true }, 'List it for everybody'],
  unpublish: [{ published: false }, 'List it no longer'],
  enable_link_access: [{ importable: true }, 'Give access to everybody with the link'],
  disable_link_access: [
    { importable: false },
    'Restrict access to the owner and the users it is shared with',
  ],
};

export function registerSharing(app: App, { idCodec, histories, forms }: HistoryRouteDeps): void {
  const decode = (id: string): number => decodeId(idCodec, id, 'history');

  app.get(
    '/api/histories/published',
    {
      config: { caller: 'anyone' },
      schema: {
        querystring: query,
        ...describeRoute(TAG, 'What everybody may see', { 200: Type.Array(replies.historySummary) }),
      },
    },
    async (request) => {
      const { limit = 100, offset = 0 } = request.query;
      return (await histories.published({ limit, offset })).map((row) => forms.summary(row));
    },
  );

  app.get(
    '/api/histories/shared_with_me',
    {
      config: { caller: 'user' },
      schema: {
        querystring: query,
        ...describeRoute(TAG, 'Histories that others share with the caller', {
          200: Type.Array(replies.historySummary),
        }),
      },
    },
    async (request) => {
      const { userId } = request;
      const { limit = 100, offset = 0 } = request.query;
      return (await histories.sharedWith(userId, { limit, offset })).map((row) => forms.summary(row));
    },
  );

  app.get(
    '/api/histories/:id/sharing',
    {
      config: { caller: 'owner' },
      schema: { params: idParams, ...describeRoute(TAG, 'Who may see it (owner)', { 200: replies.sharing }) },
    },
    async (request) => {
      const principal = request.caller;
      return forms.sharing(await histories.sharing(principal, decode(request.params.id)));
    },
  );

  app.put(
    '/api/histories/:id/share_with_users',
    {
      config: { caller: 'user' },
      schema: {
        params: idParams,
        body: shareBody,
        ...describeRoute(TAG, 'Share with exactly these users (owner)', { 200: replies.sharing }),
      },
    },
    async (request, reply) => {
      const principal = request.caller;
      const whom = request.body.user_ids.map((text) =>
        text.includes('@') ? text : decodeId(idCodec, text, 'user'),
      );
      return forms.sharing(marked(reply, await histories.share(principal, decode(request.params.id), whom)));
    },
  );

  for (const [name, [change, summary]] of Object.entries(SWITCHES)) {
    app.put(
      `/api/histories/:id/${name}`,
      {
        config: { caller: 'owner' },
        schema: { params: idParams, ...describeRoute(TAG, `${summary} (owner)`, { 200: replies.sharing }) },
      },
      async (request, reply) => {
        const principal = request.caller;
        const id = decode(request.params.id);
        marked(reply, await histories.change(principal, id, change));
        return forms.sharing(await histories.sharing(principal, id));
      },
    );
  }
}
