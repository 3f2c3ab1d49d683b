import type { Sql, SqlRow, SqlValue } from '../port.js';

export interface QueryResult {
  rows: SqlRow[];
  rowCount: number | null;
  command: string;
}

/** The SQL dialect. A subclass decides where a statement runs (pool or transaction). */
export abstract class PostgresSql implements Sql {
  readonly dialect = 'postgresql';

  protected abstract query(text: string, params: readonly SqlValue[] | undefined): Promise<QueryResult>;

  async all<Row extends SqlRow = SqlRow>(text: string, params?: readonly SqlValue[]): Promise<Row[]> {
    return (await this.query(text, params)).rows as Row[];
  }

  async run(text: string, params?: readonly SqlValue[]): Promise<number> {
    return (await this.query(text, params)).rowCount ?? 0;
  }

  isOneOf(column: string, position: number): string {
    return `${column} = ANY($${position})`;
  }

  /** An array literal as text: the server takes the element type from the compared column. */
  list(values: readonly number[] | readonly string[]): SqlValue {
    const elements = values.map((value) =>
      typeof value === 'number' ? String(value) : `"${value.replace(/["\\]/g, '\\$&')}"`,
    );
    return `{${elements.join(',')}}`;
  }
}
