/** How a stream's body begins and ends. */
import { Socket } from 'node:net';
import { frameText, LAST_CHUNK, type Position, retryText } from '../../events/frame.js';
import type { Tab } from '../tabs/tab.js';

const RETRY_FROM_MS = 2000;
const RETRY_TO_MS = 5000;

/**
 * The first bytes: `retry:`, at random, so that a restart is not answered by a stampede; then `ready` with an id, so that
 * a tab that has received nothing yet can resume.
 *
 * @returns text in ASCII
 */
export function preamble(head: string, chunked: boolean, position: Position, random: () => number): string {
  const retry = RETRY_FROM_MS + Math.floor(random() * (RETRY_TO_MS - RETRY_FROM_MS));
  const text = retryText(retry) + frameText('ready', '{}', position);
  return chunked ? `${head}${text.length.toString(16)}\r\n${text}\r\n` : head + text;
}

/** Ends the body as its encoding asks; the socket closes once everything is out. */
export function endBody(tab: Tab): void {
  const { out } = tab;
  if (tab.chunked) out.write(LAST_CHUNK);
  // HTTP servers' sockets are half-open ones: `end` alone would leave it to the client when the descriptor is free.
  if (out instanceof Socket) out.destroySoon();
  else out.end();
}
