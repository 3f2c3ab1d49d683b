/** The start and the end of a stream's body. */
import { Socket } from 'node:net';
import { type EventId, frameText, LAST_CHUNK, retryText } from '../../events/frame.js';
import type { Tab } from '../tabs/tab.js';

const RETRY_FROM_MS = 2000;
const RETRY_TO_MS = 5000;

/**
 * The first bytes: a random `retry:`, so that a restart causes no stampede; then `ready` with an id, so that a tab
 * without events can resume.
 * @returns text in ASCII
 */
export function preamble(head: string, chunked: boolean, eventId: EventId, random: () => number): string {
  const retry = RETRY_FROM_MS + Math.floor(random() * (RETRY_TO_MS - RETRY_FROM_MS));
  const text = retryText(retry) + frameText('ready', '{}', eventId);
  return chunked ? `${head}${text.length.toString(16)}\r\n${text}\r\n` : head + text;
}

/** Ends the body as its encoding demands. The socket closes once everything is out. */
export function endBody(tab: Tab): void {
  const { out } = tab;
  if (tab.chunked) out.write(LAST_CHUNK);
  // Sockets of HTTP servers are half-open: after `end` alone, the client would decide when the descriptor is free.
  if (out instanceof Socket) out.destroySoon();
  else out.end();
}
