/** The page at `/api/docs`: every route of the OpenAPI document, by group. */
import { api, BASE } from './api.js';
import { boundsOf, reader } from './openapi.js';
import { byId, element, problem } from './tables.js';

/** Relative links would lead to the base of the page. */
const linkTo = (id) => `${location.pathname}#${encodeURIComponent(id)}`;
const pre = (text) => element('pre', {}, element('code', { textContent: text }));
const written = (example) =>
  typeof example === 'string' ? example.trimEnd() : JSON.stringify(example, undefined, 2);
/** Pages of docs/ are served, too. */
const linked = (text) =>
  text
    .split(/\b(docs\/[a-z-]+)\.md/)
    .map((part, index) => (index % 2 === 0 ? part : element('a', { href: part, textContent: `${part}.md` })));
/** Text with `code` in it, and links: not for a summary, which is a button itself. */
const prose = (text = '', plain = linked) =>
  text
    .split('`')
    .flatMap((part, index) => (index % 2 === 0 ? plain(part) : element('code', { textContent: part })));

/** What is said of a field, else what it looks like. */
const wordsOf = (schema, { description, example } = {}) => {
  const said = description ?? schema.description ?? schema.anyOf?.find((one) => one.description)?.description;
  const shown = example ?? schema.examples?.[0];
  return said ?? (typeof shown === 'string' ? `such as \`${shown}\`` : undefined);
};

/** @returns nodes: `a list of History or null`, with names that lead to what they name */
function typeOf(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split('/').at(-1);
    return [element('a', { href: linkTo(`schema-${name}`), textContent: name })];
  }
  if (schema.anyOf) return schema.anyOf.flatMap((one, index) => [index > 0 ? ' or ' : '', ...typeOf(one)]);
  if (schema.type === 'array') return ['a list of ', ...typeOf(schema.items)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(' or ')];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  return [schema.type ?? 'any'];
}

function entry(name, notes, schema, description) {
  const small = element(
    'small',
    {},
    ...notes,
    ...typeOf(schema),
    ...boundsOf(schema).map((bound) => `, ${bound}`),
  );
  return [
    element('dt', {}, element('code', { textContent: name }), small),
    element('dd', {}, ...prose(description)),
  ];
}

/** The fields of an object, those within it with a dot. */
function fields({ properties = {}, required = [] }, before = '') {
  return Object.entries(properties).flatMap(([key, schema]) => [
    ...entry(before + key, required.includes(key) ? [] : ['optional, '], schema, wordsOf(schema)),
    ...fields(schema.type === 'array' ? schema.items : schema, `${before}${key}.`),
  ]);
}

const titled = (title, ...children) =>
  children.length > 0 ? [element('h3', { textContent: title }), ...children] : [];
const list = (entries) => (entries.length > 0 ? [element('dl', {}, ...entries)] : []);

function answer({ status, description, content }, { exampleIn }) {
  const types = Object.entries(content ?? {}).map(([type, { schema }]) =>
    element('small', {}, `${type}: `, ...typeOf(schema)),
  );
  const words = element('dd', {}, ...prose(description));
  const { err_msg: message, err_code: code } = (content && exampleIn(content)) ?? {};
  if (code !== undefined) words.append(element('small', { textContent: `${code}: ${message}` }));
  else if (content) words.append(pre(written(exampleIn(content))));
  return [
    element('dt', {}, element('code', { textContent: status }), ...(code === undefined ? types : [])),
    words,
  ];
}

/** Made when it is first opened: the page is there at once. */
function details(id, summary, content) {
  const made = element('details', { id }, summary);
  made.addEventListener('toggle', () => {
    if (!made.open) return;
    if (made.children.length === 1) made.append(...content());
    history.replaceState(undefined, '', linkTo(id));
  });
  return made;
}

function route(operation, document) {
  const { method, path, summary, description, operationId, parameters, body, answers } = operation;
  const line = element(
    'summary',
    {},
    element('b', { className: method, textContent: method }),
    element('code', { textContent: path }),
    element('span', {}, ...prose(summary)),
  );
  const made = details(operationId, line, () => [
    ...(description ? [element('p', {}, ...prose(description))] : []),
    pre(document.curl(operation)),
    ...titled(
      'Parameters',
      ...list(
        parameters.flatMap((one) =>
          entry(
            one.name,
            [one.required ? '' : 'optional, ', `in the ${one.in}, `],
            one.schema,
            wordsOf(one.schema, one),
          ),
        ),
      ),
    ),
    ...(body ? titled('Body', ...list(fields(body.schema))) : []),
    ...titled('Answers', ...list(answers.flatMap((one) => answer(one, document)))),
  ]);
  const names = [...parameters.map(({ name }) => name), ...Object.keys(body?.schema.properties ?? {})];
  made.method = method;
  made.words = [path, summary, ...operation.tags, ...names].join(' ').toLowerCase();
  return made;
}

function schemaOf([name, schema], document) {
  const line = element(
    'summary',
    {},
    element('code', { textContent: name }),
    element('span', {}, ...prose(schema.description, (part) => part)),
  );
  return details(`schema-${name}`, line, () => [
    ...list(fields(schema)),
    pre(written(document.exampleOf(schema))),
  ]);
}

function group({ name, description }, operations, document) {
  const id = `group-${name.replaceAll(' ', '-')}`;
  byId('groups').append(element('a', { href: linkTo(id), textContent: name }));
  const title = element(
    'h2',
    { id: `${id}-title` },
    `${name} `,
    element('small', { textContent: description }),
  );
  const section = element(
    'section',
    { id, className: 'card' },
    title,
    ...operations.map((one) => route(one, document)),
  );
  section.setAttribute('aria-labelledby', title.id);
  byId('routes').append(section);
}

const input = byId('filter').querySelector('input');
/** Routes that have all words of the filter; one in capitals is a method. */
const has = (one, word) =>
  /^[A-Z]+$/.test(word) ? one.method.startsWith(word) : one.words.includes(word.toLowerCase());
function filter() {
  const words = input.value.split(/\s+/);
  const routes = [...byId('routes').querySelectorAll('details')];
  for (const one of routes) one.hidden = !words.every((word) => has(one, word));
  for (const section of byId('routes').children)
    section.hidden = section.querySelector('details:not([hidden])') === null;
  byId('schemas').hidden = input.value.trim() !== '';
  byId('found').textContent = `${routes.filter((one) => !one.hidden).length} of ${routes.length} routes`;
}
input.addEventListener('input', filter);
byId('filter').addEventListener('submit', (event) => event.preventDefault());

/** `#getEventsStream` opens that route, whatever the filter says. Swagger UI's `#/stream/getEventsStream` does, too. */
function goToHash() {
  const target = byId(decodeURIComponent(location.hash.slice(1)).split('/').at(-1));
  if (!target) return;
  if (target.hidden || target.closest('[hidden]')) input.value = '';
  filter();
  if (target.tagName === 'DETAILS') target.open = true;
  target.scrollIntoView();
}
window.addEventListener('hashchange', goToHash);

try {
  const described = await api('api/openapi.json');
  const document = reader(described, BASE);
  byId('version').textContent = described.info.version;
  byId('about').append(...prose(described.info.description));
  for (const tag of described.tags) {
    const operations = document.operations.filter(({ tags }) => tags.includes(tag.name));
    if (operations.length > 0) group(tag, operations, document);
  }
  byId('schemas').append(
    ...Object.entries(described.components.schemas).map((one) => schemaOf(one, document)),
  );
  filter();
  goToHash();
} catch (error) {
  problem('problem', error.message);
}
