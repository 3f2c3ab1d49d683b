import { tlsAdvice } from '../../lib/tls-advice.js';

/** Describes a problem with the broker for its administrator, without the password. */

/** The URL for logs: user, host, port and virtual host, without the password and options. */
export function maskUrl(url: string): string {
  const { protocol, username, hostname, port, pathname } = new URL(url);
  const user = username === '' ? '' : `${username}@`;
  return `${protocol}//${user}${hostname}:${port || (protocol === 'amqps:' ? '5671' : '5672')}${pathname}`;
}

export function explainBrokerError(error: unknown): string {
  const { code, message, syscall, path } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  const text = message ?? String(error);
  if (code === 'ECONNREFUSED') return 'nothing listens there (ECONNREFUSED); is the broker running?';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the host name cannot be resolved (${code})`;
  if (syscall === 'open') return `the file ${path} of amqp_internal_connection cannot be read (${code})`;
  const advice = tlsAdvice(String(code), 'ssl_ca_certs');
  if (advice !== undefined) return `${advice} (${code})`;
  if (text.includes('ACCESS-REFUSED') || text.includes('ACCESS_REFUSED')) {
    return /Handshake/.test(text)
      ? 'the broker refuses the user or the password; check amqp_internal_connection'
      : `the user lacks a permission on the broker: ${reply(text)}`;
  }
  if (text.includes('during opening handshake')) {
    return 'the other side closed the connection without an answer; is it a broker, does it expect TLS (amqps://), or is it a proxy without a broker behind it?';
  }
  // amqplib hides the broker's reason if the connection is refused at this point.
  if (/ConnectionOpenOk.*ConnectionClose/.test(text)) {
    return 'the broker refuses the virtual host; does it exist, may the user access it, is its connection limit reached?';
  }
  if (text.includes('No channels left')) {
    return 'the broker allows a connection fewer than the two channels that are needed (channel_max)';
  }
  if (text.includes('PRECONDITION')) {
    const which = text.includes('inequivalent') ? 'an exchange or queue exists with other properties: ' : '';
    return which + reply(text);
  }
  if (text.includes('NOT_FOUND')) return `something was deleted: ${reply(text)}`;
  return code === undefined || text.includes(String(code)) ? text : `${text} (${code})`;
}

/** Extracts the broker's own text from amqplib's message about a close frame. */
const reply = (text: string): string => /with message "(.*)"$/s.exec(text)?.[1] ?? text;
