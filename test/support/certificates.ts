/** A private authority and a server certificate that it signed, made by openssl. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { locate } from './programs.js';

export interface Certificates {
  ca: string;
  cert: string;
  key: string;
}

/** @param name what the server certificate is for; @param folder where the files go */
export function makeCertificates(folder: string, name: string): Certificates {
  const at = (file: string): string => join(folder, file);
  const openssl = (...args: string[]): void => {
    execFileSync(locate('openssl'), args, { stdio: 'ignore' });
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...key,
    '-days',
    '2',
    '-subj',
    '/CN=test authority',
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.crt'),
  );
  openssl(
    'req',
    ...key,
    '-subj',
    `/CN=${name}`,
    '-addext',
    `subjectAltName=DNS:${name}`,
    '-keyout',
    at('server.key'),
    '-out',
    at('server.csr'),
  );
  openssl(
    'x509',
    '-req',
    '-in',
    at('server.csr'),
    '-CA',
    at('ca.crt'),
    '-CAkey',
    at('ca.key'),
    '-days',
    '2',
    '-copy_extensions',
    'copy',
    '-out',
    at('server.crt'),
  );
  return { ca: at('ca.crt'), cert: at('server.crt'), key: at('server.key') };
}
