export type TcpAddress = { readonly kind: 'tcp'; readonly host: string; readonly port: number };
export type ListenAddress = TcpAddress | { readonly kind: 'unix'; readonly path: string };

const TCP = /^(?:\[([0-9a-f:.%]+)\]|([^:[\]/\s]+)):(\d{1,5})$/i;

/**
 * Reads `host:port`, `[::1]:port` or `unix:/path`. Port 0 asks the system for a free one.
 *
 * @returns undefined when the text is none of these
 */
export function parseListen(text: string): ListenAddress | undefined {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    // A socket address holds at most 107 bytes on Linux and would cut off a longer path.
    return path.startsWith('/') && path.length > 1 && Buffer.byteLength(path) <= 107
      ? { kind: 'unix', path }
      : undefined;
  }
  const match = TCP.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host !== undefined && port <= 65535 ? { kind: 'tcp', host, port } : undefined;
}

/** Whether only this machine can connect to the address. */
export function isLoopback(address: { kind: 'tcp'; host: string } | { kind: 'unix' }): boolean {
  if (address.kind === 'unix') return true;
  const host = address.host.toLowerCase();
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
