import { readFileSync } from 'node:fs';
import { type ConnectionOptions, getCACertificates, rootCertificates } from 'node:tls';

/**
 * TLS to the broker as in py-amqp, and so in Galaxy: a known authority must have signed the certificate, which need not
 * contain the name of the host. The parameters are kombu's. The files are read for each connection.
 */
export function tlsOptions(url: string): ConnectionOptions {
  const { protocol, searchParams } = new URL(url);
  if (protocol !== 'amqps:') return {};
  const file = (name: string): Buffer | undefined => {
    const path = searchParams.get(name);
    return path === null ? undefined : readFileSync(path);
  };
  return {
    checkServerIdentity: () => undefined,
    rejectUnauthorized: !/^(cert_)?none$/i.test(searchParams.get('ssl_cert_reqs') ?? ''),
    ca: file('ssl_ca_certs') ?? [...rootCertificates, ...(getCACertificates?.('system') ?? [])],
    cert: file('ssl_certfile'),
    key: file('ssl_keyfile'),
  };
}
