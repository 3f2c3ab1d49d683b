import type { FastifyRequest } from 'fastify';

/** Behind a proxy that terminates TLS, the scheme of the proxy's header. */
export function schemeOf(request: FastifyRequest): string {
  const said = String(request.headers['x-forwarded-proto'] ?? '')
    .split(',', 1)[0]!
    .trim();
  return said === 'https' || said === 'http' ? said : request.protocol;
}
