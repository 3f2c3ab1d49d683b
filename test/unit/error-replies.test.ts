import { describe, expect, test } from 'vitest';
import { ERRORS, type ErrorCode, LightconeError } from '../../src/core/errors.js';
import { toErrorReply } from '../../src/http/errors.js';

describe('an error reply', () => {
  test.each(Object.keys(ERRORS) as ErrorCode[])('for %s has the status and code of the catalogue', (code) => {
    const { status, body } = toErrorReply(new LightconeError(code, 'text'));
    expect({ status, errCode: body.err_code }).toMatchObject({
      status: ERRORS[code].status,
      errCode: ERRORS[code].errCode,
    });
  });

  test('says what the error says, with its details', () => {
    const error = new LightconeError('CONFLICT', 'it is already there', {
      details: { id: 'f2db41e1fa331b3e' },
    });
    expect(toErrorReply(error).body).toEqual({
      err_msg: 'it is already there',
      err_code: 409001,
      id: 'f2db41e1fa331b3e',
    });
  });

  test.each(['DATABASE_UNAVAILABLE', 'BUS_UNAVAILABLE'] as const)(
    'for %s does not say whose host, account or file it is',
    (code) => {
      const { body } = toErrorReply(
        new LightconeError(code, 'postgresql://user@secret.host/db cannot be used'),
      );
      expect(body).toEqual({ err_msg: ERRORS[code].meaning, err_code: 500001 });
    },
  );

  test('tells when to come back, where trying again helps', () => {
    const retryAfter = (error: LightconeError) => toErrorReply(error).headers['retry-after'];
    expect(retryAfter(new LightconeError('BUS_UNAVAILABLE', ''))).toBe('5');
    expect(retryAfter(new LightconeError('TOO_MANY_CONNECTIONS', '', { retryAfterSeconds: 1.2 }))).toBe('2');
    expect(retryAfter(new LightconeError('CREDENTIALS_INVALID', ''))).toBeUndefined();
  });

  test.each([
    ['an error nobody foresaw', new Error('connect ECONNREFUSED /var/run/secret')],
    ['something thrown that is no error', 'secret'],
    ['what is meant for the log of the administrator', new LightconeError('DATABASE_SCHEMA', 'table secret')],
  ])('tells nothing of the inside for %s', (_, error) => {
    const { status, body } = toErrorReply(error);
    expect(status).toBe(500);
    expect(body).toEqual({ err_msg: expect.not.stringContaining('secret'), err_code: 500001 });
  });
});
