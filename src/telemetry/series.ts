import type { MetricName, Tags } from './metrics.js';

const NO_TAGS: Tags = Object.freeze({});

/**
 * One value per metric and set of tags. A look-up costs one short string. Tags must have the same order each time.
 */
export class SeriesMap<Value> {
  readonly #byKey = new Map<string, Value>();

  constructor(private readonly create: (name: MetricName, tags: Tags) => Value) {}

  get(name: MetricName, tags: Tags | undefined): Value {
    let key: string = name;
    if (tags !== undefined) for (const tag in tags) key += `\n${tag}\t${tags[tag]}`;
    let value = this.#byKey.get(key);
    if (value === undefined) {
      value = this.create(name, tags === undefined ? NO_TAGS : { ...tags });
      this.#byKey.set(key, value);
    }
    return value;
  }

  values(): IterableIterator<Value> {
    return this.#byKey.values();
  }
}
