import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { LightconeError } from '../../src/core/errors.js';
import { isDown, isSessionUsable, translateError } from '../../src/database/postgres/errors.js';

const thrown = (code: string, severity = 'ERROR'): Error =>
  Object.assign(new pg.DatabaseError('no', 2, 'error'), { code, severity });
const ofNode = (code: string): Error => Object.assign(new Error('no'), { code });
const codeOf = (error: unknown): string | undefined => {
  const translated = translateError(error, 'database x');
  return translated instanceof LightconeError ? translated.code : undefined;
};

describe('an error of the driver', () => {
  it.each([
    // What is the matter with a connection has no list: these are some of it.
    ...[
      'ECONNREFUSED',
      'ENETDOWN',
      'EMFILE',
      'EAI_AGAIN',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'CERT_HAS_EXPIRED',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'ERR_SSL_WRONG_VERSION_NUMBER',
      'EPROTO',
    ].map((code) => [code, ofNode(code)] as const),
    ['a password that cannot be used', new Error('SASL: SCRAM-SERVER-FIRST-MESSAGE: no')] as const,
    ['an end', new Error('Connection terminated unexpectedly')] as const,
  ])('%s: the database is away', (_what, error) => {
    expect(codeOf(error)).toBe('DATABASE_UNAVAILABLE');
    expect(isDown(translateError(error, 'database x'))).toBe(true);
  });

  it.each(['53300', '57P03', '57P01', '28P01', '3D000', '08P01', '25P03', '57P05'])(
    '%s ends the session where the server says that it is fatal',
    (code) => {
      expect(isDown(translateError(thrown(code, 'FATAL'), 'database x'))).toBe(true);
    },
  );

  it.each(['57014', '55P03', '25006', '53100', '40001', '40P01', '25P04'])(
    '%s passes, and its session goes on',
    (code) => {
      const translated = translateError(thrown(code), 'database x');
      expect(translated).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      expect(isDown(translated)).toBe(false);
      expect(isSessionUsable(translated)).toBe(true);
    },
  );

  it.each(['42P01', '42703', '42501', '3F000'])('%s is a matter of the schema', (code) => {
    expect(codeOf(thrown(code))).toBe('DATABASE_SCHEMA');
  });

  it.each(['22003', '22P02', '22025', '23505', '42601', '0A000', 'P0001'])(
    '%s is a matter of the statement',
    (code) => {
      expect(codeOf(thrown(code))).toBeUndefined();
    },
  );

  it('a mistake of ours stays one', () => {
    const mistake = new TypeError('x is not a function');
    expect(translateError(mistake, 'database x')).toBe(mistake);
  });
});
