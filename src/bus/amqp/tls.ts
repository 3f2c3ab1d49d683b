import { readFileSync } from 'node:fs';
import { type ConnectionOptions, getCACertificates, rootCertificates } from 'node:tls';

/**
 * TLS to the broker as py-amqp, and so Galaxy, does it: the certificate must come from an authority that this system knows,
 * and the host's name need not stand in it. The parameters are those of kombu; the files are read for each connection.
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
