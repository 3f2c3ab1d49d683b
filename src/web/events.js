/**
 * A stream of events with a header of its own: an EventSource cannot send a key but in the URL, where logs keep it.
 * Comes back by itself, except where the caller is refused.
 */
import { ApiError, BASE } from './api.js';

const RETRY_MS = 2_000;
/** The server speaks every second. */
const SILENT_MS = 6_000;

/**
 * @param on `{ event(name, data), problem(error) }`; a problem with status 401 or 403 is the last word
 * @returns ends it
 */
export function follow(path, key, on) {
  const ending = new AbortController();
  (async () => {
    while (!ending.signal.aborted) {
      try {
        await once(path, key, on, ending.signal);
        throw new ApiError(0, 'The server ended the connection.');
      } catch (error) {
        if (ending.signal.aborted) return;
        on.problem(error instanceof ApiError ? error : new ApiError(0, 'The server does not answer.'));
        if (error.status === 401 || error.status === 403) return;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  })();
  return () => ending.abort();
}

async function once(path, key, on, ended) {
  const attempt = new AbortController();
  const end = () => attempt.abort();
  ended.addEventListener('abort', end);
  let silence = setTimeout(end, SILENT_MS);
  try {
    const response = await fetch(BASE + path, {
      headers: key ? { 'x-api-key': key } : {},
      signal: attempt.signal,
    });
    if (!response.ok) {
      const { err_msg } = await response.json().catch(() => ({}));
      throw new ApiError(response.status, err_msg ?? `The server answered ${response.status}.`);
    }
    let text = '';
    for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(end, SILENT_MS);
      const blocks = (text + value).split('\n\n');
      text = blocks.pop();
      for (const block of blocks) {
        const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
        if (name) on.event(name, JSON.parse(data));
      }
    }
  } finally {
    clearTimeout(silence);
    ended.removeEventListener('abort', end);
  }
}
