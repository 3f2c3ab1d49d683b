import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { explainBrokerError } from '../../src/bus/amqp/broker-error.js';
import { reasonOf } from '../../src/database/postgres/errors.js';

const thrownBy = (act: () => unknown): unknown => {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
};
const ofNode = (code: string): Error => Object.assign(new Error('no'), { code });

describe('a connection with TLS that cannot be made is told with what to do', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const junk = thrownBy(() => createSecureContext({ key, cert: 'junk' }));

  it.each([
    ['CERT_HAS_EXPIRED', /has expired: renew it; is the clock of this host right/],
    ['CERT_NOT_YET_VALID', /not valid yet: is the clock of this host right/],
    ['ERR_OSSL_X509_KEY_VALUES_MISMATCH', /the key is not that of the certificate/],
  ])('%s', (code, advice) => {
    expect(reasonOf(ofNode(code))).toMatch(advice);
    expect(explainBrokerError(ofNode(code))).toMatch(advice);
  });

  it('an authority that is not known, by the parameter of each URL', () => {
    expect(reasonOf(ofNode('SELF_SIGNED_CERT_IN_CHAIN'))).toMatch(/name its file in sslrootcert/);
    expect(explainBrokerError(ofNode('SELF_SIGNED_CERT_IN_CHAIN'))).toMatch(/name its file in ssl_ca_certs/);
  });

  it('a file that is no certificate, or that is not there', () => {
    expect(reasonOf(junk)).toMatch(/is not a PEM file/);
    expect(explainBrokerError(junk)).toMatch(/is not a PEM file/);
    expect(explainBrokerError(thrownBy(() => readFileSync('/none/ca.pem')))).toBe(
      'the file /none/ca.pem of amqp_internal_connection cannot be read (ENOENT)',
    );
  });

  it('a host that no name server knows', () => {
    expect(reasonOf(ofNode('ENOTFOUND'))).toBe(
      'no (no name server knows this host: correct it in database_connection)',
    );
  });
});
