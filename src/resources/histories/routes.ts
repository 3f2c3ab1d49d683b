/** `/api/histories`: list, read, create, rename, delete, publish (contract, section 4.5). */
import { Type } from 'typebox';
import { LightconeError } from '../../core/errors.js';
import type { App } from '../../http/app.js';
import { describeRoute } from '../../http/describe-route.js';
import { decodeId, type RouteContext } from '../callers.js';
import { chosenFlag, chosenText, idParams, nameText, paging, text } from '../schemas.js';
import { marked } from '../written.js';
import type { HistorySerializer } from './forms.js';
import { type HistoryManager, UNNAMED } from './manager.js';
import * as replies from './replies.js';

export interface HistoryRouteDeps extends RouteContext {
  histories: HistoryManager;
  forms: HistorySerializer;
}

const TAG = 'histories';
const name = nameText(255);
const createBody = Type.Object({ name: Type.Optional(name) }, { examples: [{ name: 'RNA-seq' }] });
/** At least one of these fields. */
const changeBody = Type.Object(
  {
    name: Type.Optional(name),
    deleted: Type.Optional(Type.Boolean()),
    purged: Type.Optional(Type.Boolean()),
    importable: Type.Optional(Type.Boolean()),
    published: Type.Optional(Type.Boolean()),
    genome_build: Type.Optional(text(40, 1)),
  },
  { examples: [{ name: 'RNA-seq' }] },
);
const form = {
  keys: chosenText(1_000, 'Only these fields, separated by commas'),
  view: chosenText(32, '`summary` for the short form'),
};
const listQuery = Type.Object({
  ...paging(500, 1_000),
  deleted: chosenFlag('Deleted ones instead of the others'),
  ...form,
});
const formQuery = Type.Object(form);
const deleteQuery = Type.Object({ purge: chosenFlag('Also mark its data as purged, permanently') });

export function registerHistories(app: App, deps: HistoryRouteDeps): void {
  const { idCodec, histories, forms } = deps;
  const decode = (id: string): number => decodeId(idCodec, id, 'history');

  app.get(
    '/api/histories',
    {
      config: { caller: 'anyone' },
      schema: {
        querystring: listQuery,
        ...describeRoute(TAG, "The caller's histories, newest first", {
          200: Type.Array(replies.chosenHistory),
        }),
      },
    },
    async (request) => {
      const principal = request.caller;
      const { limit = 500, offset = 0, deleted = false, keys, view = 'summary' } = request.query;
      const rows = await histories.own(principal, { limit, offset, deleted });
      return forms.allChosen(rows, { keys, view });
    },
  );

  app.post(
    '/api/histories',
    {
      config: { caller: 'owner' },
      schema: {
        body: createBody,
        ...describeRoute(TAG, 'Create one; it becomes the current one of a session', {
          200: replies.history,
        }),
      },
    },
    async (request, reply) => {
      const principal = request.caller;
      const written = await histories.create(principal, request.body.name ?? UNNAMED);
      return forms.detailed(marked(reply, written));
    },
  );

  app.get(
    '/api/histories/:id',
    {
      config: { caller: 'anyone' },
      schema: {
        params: idParams,
        querystring: formQuery,
        ...describeRoute(TAG, 'One history, or some keys of it', { 200: replies.chosenHistory }),
      },
    },
    async (request) => {
      const principal = request.caller;
      return forms.chosen(await histories.byId(principal, decode(request.params.id)), request.query);
    },
  );

  app.put(
    '/api/histories/:id',
    {
      config: { caller: 'owner' },
      schema: {
        params: idParams,
        body: changeBody,
        ...describeRoute(TAG, 'Rename, delete, undelete, publish (owner)', { 200: replies.history }),
      },
    },
    async (request, reply) => {
      const principal = request.caller;
      refuseNothing(request.body);
      const written = await histories.change(principal, decode(request.params.id), request.body);
      return forms.detailed(marked(reply, written));
    },
  );

  app.delete(
    '/api/histories/:id',
    {
      config: { caller: 'owner' },
      schema: {
        params: idParams,
        querystring: deleteQuery,
        ...describeRoute(TAG, 'Delete (owner)', { 200: replies.history }),
      },
    },
    async (request, reply) => {
      const principal = request.caller;
      const change = request.query.purge ? { deleted: true, purged: true } : { deleted: true };
      const written = await histories.change(principal, decode(request.params.id), change);
      return forms.detailed(marked(reply, written));
    },
  );
}

function refuseNothing(body: object): void {
  if (Object.keys(changeBody.properties).some((key) => key in body)) return;
  throw new LightconeError(
    'PARAMETER_MISSING',
    `body must have one of the properties ${Object.keys(changeBody.properties).join(', ')}`,
  );
}
