import pg from 'pg';
import { LightconeError } from '../../core/errors.js';
import { tlsAdvice } from '../../lib/tls-advice.js';

/**
 * SQLSTATE classes of errors in the statement or its parameters, for which a retry is useless. Every other failure is
 * temporary, even if an administrator must solve it: no connection, a lock, a full disk, a standby, a cancel.
 */
const AT_FAULT = /^(0A|2[0-47B]|3F|42|44|P0)/;
const SCHEMA = new Set(['42P01', '42703', '42883', '3F000', '42501']);
/** A character that the encoding of the database does not have. */
const UNTRANSLATABLE = '22P05';

const ADVICE: Readonly<Record<string, string>> = {
  '28P01': "correct the user or the password in database_connection, or the server's pg_hba.conf",
  '28000': "correct the user or the password in database_connection, or the server's pg_hba.conf",
  '3D000': 'create it, or correct the name in database_connection',
  '25006':
    'a standby, or default_transaction_read_only: name the primary server in database_connection, or all with target_session_attrs=primary',
  '55P03': 'another session has locked it for long: VACUUM FULL, ALTER TABLE, an open transaction?',
  ECONNREFUSED: 'is the server running, and is the port right?',
  ENOTFOUND: 'no name server knows this host: correct it in database_connection',
  EAI_AGAIN: 'the name server of this host does not answer',
};

/** Translates errors of the driver into those of the catalogue. Other SQL errors stay as they are. */
export function translateError(error: unknown, where: string): Error {
  if (error instanceof LightconeError || !(error instanceof Error)) return error as Error;
  const code = error instanceof pg.DatabaseError ? (error.code ?? '') : undefined;
  // A mistake of ours in the driver's arguments; driver, sockets and TLS throw plain errors.
  if (code === undefined && (error instanceof TypeError || error instanceof RangeError)) return error;
  if (code === undefined || !AT_FAULT.test(code)) {
    return new LightconeError('DATABASE_UNAVAILABLE', `${where} cannot be used: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  if (code === UNTRANSLATABLE) {
    return new LightconeError('PARAMETER_INVALID', `The database cannot store this text: ${error.message}.`, {
      cause: error,
    });
  }
  if (SCHEMA.has(code)) {
    return new LightconeError(
      'DATABASE_SCHEMA',
      `${where} lacks a required object or right: ${error.message}; run "lightcone migrate", or check the rights of the database user`,
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
  const code = String((error as { code?: unknown } | null)?.code);
  const advice = ADVICE[code] ?? tlsAdvice(code, 'sslrootcert');
  const message = error instanceof Error ? error.message : String(error);
  return advice === undefined ? message : `${message} (${advice})`;
}

/** The server has refused a statement, and accepts the next one on the same connection. */
export function isSessionUsable(error: unknown): boolean {
  const thrown = error instanceof LightconeError ? error.options.cause : error;
  return thrown instanceof pg.DatabaseError && thrown.severity === 'ERROR';
}

/** There is no connection, or a statement got no answer. */
export const isDown = (error: unknown): error is LightconeError =>
  error instanceof LightconeError && error.code === 'DATABASE_UNAVAILABLE' && !isSessionUsable(error);
