/** Adds to the document what the schemas of the routes lack: the stream, refusals, names of operations and answers. */
import { ERROR, REFUSALS } from './openapi-refusals.js';
import { STREAM_OPERATION } from './routes/stream-description.js';

interface Operation {
  tags: string[];
  summary: string;
  operationId?: string;
  parameters?: { in: string }[];
  requestBody?: object;
  security?: object[];
  responses: Record<string, Response>;
}
interface Response {
  description?: string;
  content?: Record<string, { schema: Schema }>;
}
type Schema = { title?: string; description?: string; type?: string } & Record<string, unknown>;

export interface OpenApiDocument {
  components: object;
  paths: Record<string, Record<string, Operation>>;
}

/** @returns a new document; the given one stays unchanged */
export function completed(document: OpenApiDocument): object {
  const schemas = new Map<string, Schema>([['Error', ERROR]]);
  const paths: [string, Record<string, object>][] = Object.entries(document.paths).map(
    ([path, operations]) => {
      const named = Object.entries(operations).map(([method, operation]) => {
        const responses = { ...refusalsOf(path, operation), ...answersOf(operation) };
        const withNames = withComponents({ ...operation, responses }, schemas);
        return [method, { ...(withNames as Operation), operationId: nameOf(method, path) }];
      });
      return [path, Object.fromEntries(named)];
    },
  );
  paths.unshift(['/api/events/stream', { get: { ...STREAM_OPERATION, operationId: 'getEventsStream' } }]);
  const text = JSON.stringify(paths);
  const responses = Object.entries(REFUSALS).filter(([name]) => text.includes(`responses/${name}"`));
  const components = {
    ...document.components,
    schemas: Object.fromEntries(schemas),
    responses: Object.fromEntries(responses),
  };
  return { ...document, paths: Object.fromEntries(paths), components };
}

/** `put /api/histories/{id}/publish`: putHistoriesByIdPublish */
function nameOf(method: string, path: string): string {
  const words = path
    .replace(/^\/api\//, '')
    .replace(/\{(\w+)\}/g, 'by/$1')
    .split(/\W|_/)
    .filter((word) => word !== '');
  return method + words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('');
}

/** The placeholder of @fastify/swagger. */
const UNDESCRIBED = 'Default Response';

/** The schemas of replies, each with a description. */
function answersOf({ responses }: Operation): Record<string, Response> {
  const described = Object.entries(responses).map(([status, response]) => {
    const { content, description } = response;
    if (content === undefined) return [status, response];
    const schema = Object.values(content)[0]!.schema;
    const words = description === UNDESCRIBED ? wordsOf(schema) : description;
    return [status, { ...response, description: words }];
  });
  return Object.fromEntries(described);
}

function wordsOf(schema: Schema): string {
  const { title, description, items, anyOf } = schema as Schema & { items?: Schema; anyOf?: Schema[] };
  if (description !== undefined) return description;
  if (title !== undefined) return title;
  if (items !== undefined) return `A list: ${wordsOf(items)}`;
  return (anyOf ?? []).map((one) => (one.type === 'null' ? 'null' : wordsOf(one))).join(', or ');
}

/** Moves schemas with a title to the components and refers to them. */
function withComponents(value: unknown, schemas: Map<string, Schema>): unknown {
  if (Array.isArray(value)) return value.map((one) => withComponents(one, schemas));
  if (typeof value !== 'object' || value === null) return value;
  const copy = Object.fromEntries(
    Object.entries(value).map(([key, one]) => [
      key,
      key.startsWith('example') ? one : withComponents(one, schemas),
    ]),
  );
  const { title } = copy;
  if (typeof title !== 'string') return copy;
  schemas.set(title, copy);
  return { $ref: `#/components/schemas/${title}` };
}

/** Derives the refusals of an operation from its parameters. */
function refusalsOf(
  path: string,
  { parameters, requestBody, security, responses }: Operation,
): Record<string, Response> {
  const takesId = parameters?.some((parameter) => parameter.in === 'path');
  const identifies = security === undefined;
  const limited = path.startsWith('/api/') || path.startsWith('/history/');
  const names: Record<string, keyof typeof REFUSALS | undefined | false> = {
    400: 'Malformed',
    401: identifies && 'NotSignedIn',
    403: identifies && 'NotAllowed',
    // A job is named in the query or the body.
    404: (takesId || path.startsWith('/api/entry_points')) && 'NotFound',
    409: path.endsWith('/access') && 'Conflict',
    413: requestBody !== undefined && 'TooLarge',
    429: limited && 'TooMany',
    500: 'Failed',
    503: (limited || identifies) && 'Unavailable',
  };
  const given = Object.entries(names).filter(([status, name]) => name && !(status in responses));
  return Object.fromEntries(
    given.map(([status, name]) => [status, { $ref: `#/components/responses/${name}` } as Response]),
  );
}
