/**
 * Parses the filters, order and window of `contents` in the polling client's syntax: pairs of `q=<field>-<op>` and
 * `qv=<value>`.
 */
import { LightconeError } from '../../core/errors.js';
import { sinceInclusive } from '../../database/dialect.js';
import type { SqlValue } from '../../database/port.js';
import { formatSql, type Micros, parseIso } from '../../lib/time.js';

export type ContentType = 'dataset' | 'dataset_collection';

type Kind = 'time' | 'number' | 'boolean' | 'text';

/** By name: its type, and its SQL over the columns of `contents.ts`. */
const FIELDS: Readonly<Record<string, { kind: Kind; sql: string }>> = {
  update_time: { kind: 'time', sql: 'c.update_time' },
  create_time: { kind: 'time', sql: 'c.create_time' },
  hid: { kind: 'number', sql: 'c.hid' },
  deleted: { kind: 'boolean', sql: 'coalesce(c.deleted, false)' },
  visible: { kind: 'boolean', sql: 'coalesce(c.visible, true)' },
  purged: { kind: 'boolean', sql: 'coalesce(c.purged, false)' },
  name: { kind: 'text', sql: 'c.name' },
  state: { kind: 'text', sql: 'c.state' },
  extension: { kind: 'text', sql: 'c.extension' },
  history_content_type: { kind: 'text', sql: 'c.type' },
};

const COMPARISONS: Readonly<Record<string, string>> = {
  eq: '=',
  ne: '<>',
  ge: '>=',
  gt: '>',
  le: '<=',
  lt: '<',
};
const OPERATORS: Readonly<Record<Kind, readonly string[]>> = {
  time: ['eq', 'ge', 'gt', 'le', 'lt'],
  number: ['eq', 'ge', 'gt', 'le', 'lt'],
  boolean: ['eq'],
  text: ['eq', 'ne', 'in', 'contains', 'like'],
};

export interface Condition {
  /** SQL with `?` for its values. */
  sql: string;
  values: SqlValue[];
  /** The time since which the filter selects changes. */
  changedSince?: Micros;
}

/** @throws LightconeError PARAMETER_INVALID */
export function readFilters(names: readonly string[], values: readonly string[]): Condition[] {
  if (names.length !== values.length) {
    throw new LightconeError(
      'PARAMETER_INVALID',
      `there are ${names.length} q and ${values.length} qv; give one qv for each q, in the same order`,
    );
  }
  return names.map((name, i) => readFilter(name, values[i]!));
}

function readFilter(name: string, value: string): Condition {
  const dash = name.lastIndexOf('-');
  const [fieldName, operator] = dash < 0 ? [name, 'eq'] : [name.slice(0, dash), name.slice(dash + 1)];
  const field = Object.hasOwn(FIELDS, fieldName) ? FIELDS[fieldName] : undefined;
  if (!field || !OPERATORS[field.kind].includes(operator)) {
    throw new LightconeError('PARAMETER_INVALID', `q=${name} is not a filter; ${knownFilters()}`);
  }
  const { kind, sql } = field;
  if (operator === 'in') {
    const wanted = value.split(',');
    return { sql: `${sql} IN (${wanted.map(() => '?').join(', ')})`, values: wanted };
  }
  if (operator === 'contains' || operator === 'like') {
    const pattern = operator === 'like' ? whole(value) : `%${value.replace(/[\\%_]/g, '\\$&')}%`;
    return { sql: `lower(${sql}) LIKE lower(?) ESCAPE '\\'`, values: [pattern] };
  }
  const condition = {
    sql: `${sql} ${COMPARISONS[operator]} ?`,
    values: [readValue(kind, operator, value, name)],
  };
  const asksForNew = fieldName === 'update_time' && (operator === 'ge' || operator === 'gt');
  return asksForNew ? { ...condition, changedSince: parseIso(value)! } : condition;
}

/** Doubles a backslash that escapes nothing: PostgreSQL refuses it, and SQLite finds nothing. */
const whole = (pattern: string): string =>
  /(?:^|[^\\])(?:\\\\)*\\$/.test(pattern) ? `${pattern}\\` : pattern;

function readValue(kind: Kind, operator: string, value: string, name: string): SqlValue {
  const wrong = (must: string): LightconeError =>
    new LightconeError('PARAMETER_INVALID', `qv of q=${name} is ${JSON.stringify(value)}; write ${must}`);
  switch (kind) {
    case 'time': {
      const moment = parseIso(value);
      if (moment === undefined) throw wrong('an ISO date-time');
      // SQLite compares text, and a shorter fraction is smaller.
      return operator === 'ge' || operator === 'lt' ? sinceInclusive(moment) : formatSql(moment);
    }
    case 'number': {
      if (!/^-?\d{1,9}$/.test(value)) throw wrong('a whole number');
      return Number(value);
    }
    case 'boolean': {
      if (!/^(true|false)$/i.test(value)) throw wrong('true or false');
      return value.toLowerCase() === 'true';
    }
    case 'text':
      if (value.includes('\0')) throw wrong('text without NUL');
      return value;
  }
}

/** `<field>-asc` or `<field>-dsc`, separated by commas. @throws LightconeError PARAMETER_INVALID */
export function readOrder(order: string | undefined): string {
  const parts = (order ?? 'hid-asc').split(',').map((part) => {
    const [, name = '', direction] = /^([a-z_]+?)(?:-(asc|dsc))?$/.exec(part.trim()) ?? [];
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    if (!field) {
      throw new LightconeError(
        'PARAMETER_INVALID',
        `order=${part} is not an order; write <field>-asc or <field>-dsc with one of ${Object.keys(FIELDS).join(', ')}`,
      );
    }
    return `${field.sql} ${direction === 'dsc' ? 'DESC' : 'ASC'}`;
  });
  // A stable order of equal rows, for paging.
  return [...parts, 'c.type ASC', 'c.id ASC'].join(', ');
}

const knownFilters = (): string =>
  `write <field>-<operator> with one of ${Object.entries(FIELDS)
    .map(([name, { kind }]) => `${name} (${OPERATORS[kind].join(', ')})`)
    .join('; ')}`;
