import { LightconeError } from '../../core/errors.js';

/**
 * SQLSTATE classes that mean "not now": connection, resources, operator intervention, wrong credentials, no such
 * database. The last two heal as soon as the administrator finishes setting up, so they are waited for as well.
 */
const UNAVAILABLE = /^(08|53|57|28|3D)/;
const SCHEMA = new Set(['42P01', '42703', '42883', '3F000', '42501']);
const NETWORK =
  /^(ECONN|EPIPE|ENOENT|EACCES|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EADDRNOTAVAIL|ERR_)/;
const DRIVER =
  /connection terminated|timeout expired|query read timeout|timeout exceeded when trying to connect|not queryable|client was closed|connection error|connection ended|does not support ssl|pool after calling end/i;

/** Turns what the driver throws into the catalogue's errors; an SQL error that is neither stays as it is. */
export function translateError(error: unknown, where: string): Error {
  if (error instanceof LightconeError || !(error instanceof Error)) return error as Error;
  const code = String((error as { code?: unknown }).code ?? '');
  if (UNAVAILABLE.test(code) || NETWORK.test(code) || DRIVER.test(error.message)) {
    return new LightconeError('DATABASE_UNAVAILABLE', `${where} cannot be used: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  if (SCHEMA.has(code)) {
    return new LightconeError(
      'DATABASE_SCHEMA',
      `${where} lacks something that is needed: ${error.message}; run "lightcone migrate", or check the rights of the database user`,
      { cause: error },
    );
  }
  return error;
}

/** One line for a log. A connection to several addresses fails with an AggregateError whose own message is empty. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) {
    return [...new Set(error.errors.map(reasonOf))].join('; ');
  }
  const code = (error as { code?: unknown } | null)?.code;
  if (code === '28P01' || code === '28000') {
    return `${(error as Error).message} (correct the user or the password in database_connection, or the server's pg_hba.conf)`;
  }
  if (code === 'ECONNREFUSED')
    return `${(error as Error).message} (is the server running, and is the port right?)`;
  if (code === '3D000')
    return `${(error as Error).message} (create it, or correct the name in database_connection)`;
  return error instanceof Error ? error.message : String(error);
}

export const isUnavailable = (error: unknown): error is LightconeError =>
  error instanceof LightconeError && error.code === 'DATABASE_UNAVAILABLE';
