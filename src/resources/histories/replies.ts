/** Schemas of the replies about histories, for the OpenAPI document. */
import { Type } from 'typebox';
import { ID, orNull, TIME } from '../../http/describe-route.js';

const text = Type.String();
const textOrNull = orNull(text);
const flag = Type.Boolean();
const count = Type.Integer({ minimum: 0 });

const summaryFields = {
  model_class: Type.Literal('History'),
  id: ID,
  name: text,
  deleted: flag,
  purged: flag,
  archived: flag,
  importable: flag,
  published: flag,
  create_time: orNull(TIME),
  update_time: orNull(TIME),
  url: text,
};
const SUMMARY_EXAMPLE = {
  model_class: 'History' as const,
  id: 'f2db41e1fa331b3e',
  name: 'RNA-seq',
  deleted: false,
  purged: false,
  archived: false,
  importable: false,
  published: false,
  create_time: '2026-07-01T12:00:00.000000',
  update_time: '2026-07-01T12:34:56.789012',
  url: '/api/histories/f2db41e1fa331b3e',
};
const detailFields = {
  user_id: orNull(ID),
  username: textOrNull,
  slug: textOrNull,
  genome_build: textOrNull,
  hid_counter: Type.Integer(),
  size: Type.Literal(0),
  contents_active: Type.Object({ active: count, deleted: count, hidden: count }),
  count,
  contents_url: text,
};

export const historySummary = Type.Object(summaryFields, {
  title: 'HistorySummary',
  examples: [SUMMARY_EXAMPLE],
});
export const history = Type.Object(
  { ...summaryFields, ...detailFields },
  {
    title: 'History',
    examples: [
      {
        ...SUMMARY_EXAMPLE,
        user_id: 'adb5f5c93f827949',
        username: 'alice',
        slug: null,
        genome_build: '?',
        hid_counter: 3,
        size: 0,
        contents_active: { active: 2, deleted: 0, hidden: 0 },
        count: 2,
        contents_url: '/api/histories/f2db41e1fa331b3e/contents',
      },
    ],
  },
);
/** Depends on `view` and `keys` of the request. */
export const chosenHistory = Type.Union([
  history,
  historySummary,
  Type.Partial(Type.Object({ ...summaryFields, ...detailFields }), {
    title: 'HistoryKeys',
    description: 'With `keys`: only those',
    examples: [{ id: SUMMARY_EXAMPLE.id, name: SUMMARY_EXAMPLE.name }],
  }),
]);

export const sharing = Type.Object(
  {
    id: ID,
    title: text,
    importable: flag,
    published: flag,
    username_and_slug: textOrNull,
    users_shared_with: Type.Array(Type.Object({ id: ID, email: text })),
  },
  {
    title: 'Sharing',
    examples: [
      {
        id: 'f2db41e1fa331b3e',
        title: 'RNA-seq',
        importable: true,
        published: true,
        username_and_slug: 'u/alice/h/rna-seq',
        users_shared_with: [{ id: '1cd8e2f6b131e891', email: 'bob@example.org' }],
      },
    ],
  },
);

const itemFields = {
  id: ID,
  type_id: Type.String({ examples: ['dataset-f2db41e1fa331b3e'] }),
  history_id: ID,
  hid: orNull(Type.Integer()),
  name: textOrNull,
  deleted: flag,
  visible: flag,
  create_time: orNull(TIME),
  update_time: orNull(TIME),
  url: text,
  tags: Type.Array(text),
};
const ITEM_EXAMPLE = {
  id: 'f2db41e1fa331b3e',
  history_id: 'f2db41e1fa331b3e',
  hid: 1,
  name: 'reads',
  deleted: false,
  visible: true,
  create_time: '2026-07-01T12:00:00.000000',
  update_time: '2026-07-01T12:34:56.789012',
  tags: [],
};
const dataset = Type.Object(
  {
    ...itemFields,
    history_content_type: Type.Literal('dataset'),
    type: Type.Literal('file'),
    state: textOrNull,
    extension: textOrNull,
    purged: flag,
    // Only in the detailed form of an item.
    misc_info: Type.Optional(textOrNull),
    misc_blurb: Type.Optional(textOrNull),
    peek: Type.Optional(textOrNull),
    validated_state: Type.Optional(textOrNull),
    version: Type.Optional(orNull(Type.Integer())),
  },
  {
    title: 'Dataset',
    examples: [
      {
        ...ITEM_EXAMPLE,
        type_id: 'dataset-f2db41e1fa331b3e',
        history_content_type: 'dataset',
        type: 'file',
        url: '/api/histories/f2db41e1fa331b3e/contents/datasets/f2db41e1fa331b3e',
        state: 'ok',
        extension: 'fastq',
        purged: false,
      },
    ],
  },
);
const collection = Type.Object(
  {
    ...itemFields,
    history_content_type: Type.Literal('dataset_collection'),
    type: Type.Literal('collection'),
    populated_state: textOrNull,
    collection_type: Type.Literal('list'),
  },
  {
    title: 'DatasetCollection',
    examples: [
      {
        ...ITEM_EXAMPLE,
        type_id: 'dataset_collection-f2db41e1fa331b3e',
        history_content_type: 'dataset_collection',
        type: 'collection',
        url: '/api/histories/f2db41e1fa331b3e/contents/dataset_collections/f2db41e1fa331b3e',
        populated_state: 'ok',
        collection_type: 'list',
      },
    ],
  },
);
/** A value distinguishes the two, which types of rows cannot express. */
export const item = Type.Unsafe<object>(Type.Union([dataset, collection]));

const delta = Type.Object(
  {
    since: orNull(
      Type.String({ description: 'The token of the next request', examples: ['9d4c01f2.hxk3v1c7q8'] }),
    ),
    up_to_date: flag,
    start_over: flag,
    contents: Type.Array(item),
  },
  {
    title: 'ContentsDelta',
    description: 'With `since`: the rows that became visible after it (docs/stream.md)',
    examples: [{ since: '9d4c01f2.hxk3v1c7q8', up_to_date: true, start_over: false, contents: [] }],
  },
);
const withStats = Type.Object(
  { stats: Type.Object({ total_matches: count }), contents: Type.Array(item) },
  {
    title: 'ContentsWithStats',
    description: 'If `Accept` is application/vnd.galaxy.history.contents.stats+json',
    examples: [{ stats: { total_matches: 0 }, contents: [] }],
  },
);
export const contentsList = Type.Unsafe<object>(Type.Union([Type.Array(item), delta, withStats]));
