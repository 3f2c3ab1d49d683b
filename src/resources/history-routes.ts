import { Type } from '@fastify/type-provider-typebox';
import { LightconeError } from '../core/errors.js';
import type { App } from '../http/app.js';
import type { Authenticator } from '../http/authentication.js';
import type { IdCodec } from '../http/id-codec.js';
import type { Histories, HistorySummary } from './histories.js';

export interface HistoryRouteDeps {
  histories: Histories;
  authenticator: Authenticator;
  idCodec: IdCodec;
}

// The column holds 255 characters; PostgreSQL takes no NUL.
const renameBody = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 255, pattern: '^[^\\u0000]*$' }),
});
const params = Type.Object({ id: Type.String() });

/** `GET /api/histories` and `PUT /api/histories/{id}`. */
export function registerHistories(app: App, { histories, authenticator, idCodec }: HistoryRouteDeps): void {
  const view = ({ id, name, updateTime }: HistorySummary) => ({
    model_class: 'History',
    id: idCodec.encodeId(id),
    name,
    update_time: updateTime,
    url: `${app.prefix}/api/histories/${idCodec.encodeId(id)}`,
  });

  app.get('/api/histories', async (request, reply) => {
    const principal = await authenticator.authenticate(request);
    reply.header('cache-control', 'no-store');
    return (await histories.own(principal)).map(view);
  });

  app.put('/api/histories/:id', { schema: { params, body: renameBody } }, async (request) => {
    const principal = await authenticator.authenticate(request);
    if (principal.userId === undefined && principal.sessionId === undefined) {
      throw new LightconeError('LOGIN_REQUIRED', 'renaming a history needs a login or an API key');
    }
    const id = idCodec.decodeId(request.params.id);
    if (id === undefined)
      throw new LightconeError('MALFORMED_ID', 'the id in the path is not an encoded history id');
    return view(await histories.rename(principal, id, request.body.name));
  });
}
