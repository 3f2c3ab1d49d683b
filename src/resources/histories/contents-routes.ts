/** `/api/histories/{id}/contents`: the contents of the panel, and changes since a moment (contract, section 4.5). */
import { Type } from 'typebox';
import { LightconeError } from '../../core/errors.js';
import { isoOrNull } from '../../database/notification-forms.js';
import { toBoolean } from '../../database/port.js';
import type { App } from '../../http/app.js';
import { describeRoute } from '../../http/describe-route.js';
import { decodeId, type RouteContext } from '../callers.js';
import { chosenFlag, chosenText, encodedId, idParams, nameText, paging, text } from '../schemas.js';
import { marked } from '../written.js';
import type { ContentRow, HistoryContents } from './contents.js';
import { type ContentType, readFilters, readOrder } from './contents-filter.js';
import * as replies from './replies.js';

export interface ContentsRouteDeps extends RouteContext {
  contents: HistoryContents;
}

const TAG = 'history contents';
const STATS = 'application/vnd.galaxy.history.contents.stats+json';
const one = text(1_000);
const several = (description: string) =>
  Type.Optional(Type.Union([one, Type.Array(one, { maxItems: 50 })], { description }));
const listQuery = Type.Object({
  ...paging(500, 5_000),
  v: chosenText(8, 'A parameter of Galaxy’s clients; every value gives the same answer'),
  q: several('A filter, `<field>-<operator>`, such as `update_time-ge`; may be repeated'),
  qv: several('The value of each filter, in the order of `q`'),
  order: chosenText(200, '`<field>-asc` or `<field>-dsc`, such as `hid-dsc`'),
  details: chosenText(20_000, 'The ids of the detailed items, separated by commas, or `all`'),
  since: chosenText(100, 'From an event or an earlier answer; the answer has what became visible after it'),
});
const contentParams = Type.Object({
  id: encodedId,
  type: Type.Enum(['datasets', 'dataset_collections']),
  content: encodedId,
});
const values = {
  state: Type.Optional(text(64, 1)),
  extension: Type.Optional(text(64, 1)),
};
const createBody = Type.Object(
  {
    type: Type.Optional(Type.Enum(['dataset', 'dataset_collection'])),
    name: nameText(255),
    ...values,
  },
  { examples: [{ name: 'reads', extension: 'fastq' }] },
);
const changeBody = Type.Object(
  {
    name: Type.Optional(nameText(255)),
    ...values,
    info: Type.Optional(text(255)),
    deleted: Type.Optional(Type.Boolean()),
    visible: Type.Optional(Type.Boolean()),
    purged: Type.Optional(Type.Boolean()),
  },
  { examples: [{ state: 'ok' }] },
);
const deleteQuery = Type.Object({ purge: chosenFlag('Also mark its data as purged, permanently') });

export function registerContents(app: App, { idCodec, contents }: ContentsRouteDeps): void {
  const url = '/api/histories/:id/contents';
  const decode = (id: string): number => decodeId(idCodec, id, 'history');

  const form = (row: ContentRow, detailed: boolean) => {
    const id = idCodec.encodeId(row.id);
    const isDataset = row.type === 'dataset';
    const historyId = idCodec.encodeId(row.history_id);
    return {
      id,
      type_id: `${row.type}-${id}`,
      history_content_type: row.type,
      type: isDataset ? 'file' : 'collection',
      history_id: historyId,
      hid: row.hid,
      name: row.name,
      deleted: toBoolean(row.deleted),
      visible: row.visible === null ? true : toBoolean(row.visible),
      create_time: isoOrNull(row.create_time),
      update_time: isoOrNull(row.update_time),
      url: `${app.prefix}/api/histories/${historyId}/contents/${row.type}s/${id}`,
      tags: [],
      ...(isDataset
        ? { state: row.state, extension: row.extension, purged: toBoolean(row.purged) }
        : { populated_state: row.state, collection_type: 'list' }),
      ...(detailed &&
        isDataset && {
          misc_info: row.info,
          misc_blurb: row.blurb,
          peek: row.peek,
          validated_state: row.validated_state,
          version: row.version,
        }),
    };
  };

  app.get(
    url,
    {
      config: { caller: 'anyone' },
      schema: {
        params: idParams,
        querystring: listQuery,
        ...describeRoute(TAG, 'List, with filters, order and window', { 200: replies.contentsList }),
        produces: ['application/json', STATS],
      },
    },
    async (request, reply) => {
      const { limit = 500, offset = 0, q, qv, order, details, since } = request.query;
      const id = decode(request.params.id);
      if (since !== undefined) {
        if (q !== undefined || qv !== undefined || order !== undefined || offset !== 0) {
          throw new LightconeError(
            'PARAMETER_INVALID',
            'since allows only limit and details; remove q, qv, order and offset',
          );
        }
        const delta = await contents.since(request.caller, id, since, limit);
        const wanted = new Set(details?.split(','));
        return {
          since: delta.since,
          up_to_date: delta.upToDate,
          start_over: delta.startOver,
          contents: delta.rows.map((row) =>
            form(row, wanted.has('all') || wanted.has(idCodec.encodeId(row.id))),
          ),
        };
      }
      const filters = readFilters(listOf(q), listOf(qv));
      const principal = request.caller;
      const rows = await contents.list(principal, id, { filters, order: readOrder(order), limit, offset });
      const detailed = new Set(details?.split(','));
      const forms = rows.map((row) =>
        form(row, detailed.has('all') || detailed.has(idCodec.encodeId(row.id))),
      );
      if (!request.headers.accept?.includes(STATS)) return forms;
      reply.type(STATS);
      return JSON.stringify({ stats: { total_matches: await contents.count(id, filters) }, contents: forms });
    },
  );

  app.post(
    url,
    {
      config: { caller: 'owner' },
      schema: {
        params: idParams,
        body: createBody,
        ...describeRoute(TAG, 'Add a dataset or a collection (owner)', { 200: replies.item }),
      },
    },
    async (request, reply) => {
      const principal = request.caller;
      const { type = 'dataset', ...content } = request.body;
      const written = await contents.add(principal, decode(request.params.id), { type, ...content });
      return form(marked(reply, written), true);
    },
  );

  app.get(
    `${url}/:type/:content`,
    {
      config: { caller: 'anyone' },
      schema: { params: contentParams, ...describeRoute(TAG, 'One item', { 200: replies.item }) },
    },
    async (request) => {
      const principal = request.caller;
      const { id, type, content } = request.params;
      const contentId = decodeId(idCodec, content, type);
      return form(await contents.byId(principal, decode(id), singular(type), contentId), true);
    },
  );

  app.put(
    `${url}/:type/:content`,
    {
      config: { caller: 'owner' },
      schema: {
        params: contentParams,
        body: changeBody,
        ...describeRoute(TAG, 'Change one item (owner)', { 200: replies.item }),
      },
    },
    async (request, reply) => {
      const principal = request.caller;
      const { id, type, content } = request.params;
      if (!Object.keys(changeBody.properties).some((key) => key in request.body)) {
        throw new LightconeError(
          'PARAMETER_MISSING',
          'the body changes nothing; give name, deleted, visible or another property',
        );
      }
      const contentId = decodeId(idCodec, content, type);
      const { body } = request;
      const written = await contents.change(principal, decode(id), singular(type), contentId, body);
      return form(marked(reply, written), true);
    },
  );

  app.delete(
    `${url}/:type/:content`,
    {
      config: { caller: 'owner' },
      schema: {
        params: contentParams,
        querystring: deleteQuery,
        ...describeRoute(TAG, 'Delete one item (owner)', { 200: replies.item }),
      },
    },
    async (request, reply) => {
      const principal = request.caller;
      const { id, type, content } = request.params;
      const contentId = decodeId(idCodec, content, type);
      const purged = request.query.purge === true && type === 'datasets' ? { purged: true } : {};
      const change = { deleted: true, ...purged };
      const written = await contents.change(principal, decode(id), singular(type), contentId, change);
      return form(marked(reply, written), true);
    },
  );
}

const listOf = (value: string | string[] | undefined): string[] => [value ?? []].flat();

const singular = (type: 'datasets' | 'dataset_collections'): ContentType =>
  type === 'datasets' ? 'dataset' : 'dataset_collection';
