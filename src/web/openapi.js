/** Reads an OpenAPI document: no page, no request. */

export function reader(document, address) {
  const resolve = (value) =>
    value?.$ref === undefined
      ? value
      : value.$ref
          .slice(2)
          .split('/')
          .reduce((found, name) => found[name], document);

  /** What such a value looks like: as the document shows it, else made up from the types. */
  function exampleOf(schema) {
    const { examples, anyOf, items, properties, type, enum: values, default: preset } = resolve(schema);
    const constant = resolve(schema).const;
    if (examples) return examples[0];
    if (constant !== undefined) return constant;
    if (values) return values[0];
    if (preset !== undefined) return preset;
    if (anyOf) return exampleOf(anyOf[0]);
    if (properties)
      return Object.fromEntries(Object.entries(properties).map(([key, one]) => [key, exampleOf(one)]));
    return (
      { array: items && [exampleOf(items)], string: '…', boolean: true, integer: 1, number: 1, null: null }[
        type
      ] ?? {}
    );
  }
  /** @param content of a body or an answer, by media type */
  const exampleIn = (content) => {
    const { example, schema } = Object.values(content)[0];
    return example ?? exampleOf(schema);
  };
  const exampleFor = ({ example, schema }) => example ?? exampleOf(schema);

  function operation(path, method, { parameters = [], requestBody, responses, ...rest }) {
    const all = parameters.map(resolve);
    return {
      ...rest,
      method: method.toUpperCase(),
      path,
      parameters: all,
      body: requestBody && {
        schema: Object.values(requestBody.content)[0].schema,
        example: exampleIn(requestBody.content),
      },
      answers: Object.entries(responses).map(([status, answer]) => ({ status, ...resolve(answer) })),
    };
  }

  /** A line for a shell. */
  function curl({ method, path, parameters, body, answers }) {
    const of = (place) => parameters.filter((one) => one.in === place && (one.required || place === 'path'));
    const filled = of('path').reduce(
      (text, one) => text.replace(`{${one.name}}`, encodeURIComponent(exampleFor(one))),
      path,
    );
    const query = of('query').map((one) => `${one.name}=${encodeURIComponent(exampleFor(one))}`);
    const isStream = answers.some(({ content }) => content?.['text/event-stream']);
    return [
      'curl',
      isStream && '-N',
      method !== 'GET' && `-X ${method}`,
      !PROBE.test(path) && "-H 'x-api-key: YOUR-KEY'",
      body && `-H 'content-type: application/json' -d ${quoted(JSON.stringify(body.example))}`,
      quoted(address + filled.slice(1) + (query.length > 0 ? `?${query.join('&')}` : '')),
    ]
      .filter(Boolean)
      .join(' ');
  }

  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => operation(path, method, described)),
  );
  return { operations, resolve, exampleOf, exampleIn, curl };
}

/** Health, for programs that have no key. */
const PROBE = /^\/\w+z$/;
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** What a value has to be, beside its type. */
export function boundsOf({ minimum, maximum, maxLength, maxItems, default: preset }) {
  return [
    minimum !== undefined && `from ${minimum}`,
    maximum !== undefined && `up to ${maximum}`,
    maxLength !== undefined && `at most ${maxLength} characters`,
    maxItems !== undefined && `at most ${maxItems}`,
    preset !== undefined && `else ${preset}`,
  ].filter(Boolean);
}
