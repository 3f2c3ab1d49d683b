import type { StreamSettings } from './messages.js';

export const headersOf = ({ apiKey }: StreamSettings): Record<string, string> =>
  apiKey ? { 'x-api-key': apiKey } : {};

export const credentialsOf = ({ withCredentials }: StreamSettings): 'include' | 'same-origin' =>
  withCredentials ? 'include' : 'same-origin';

/** A connection that died without a word must not be waited for. */
const ANSWER_MS = 60_000;

/** @returns the status and, where the answer is JSON, its body; status 0 when there was no answer */
export async function request(
  settings: StreamSettings,
  path: string,
  init: { method?: string; body?: string; signal?: AbortSignal } = {},
): Promise<{ status: number; body: unknown }> {
  const abort = new AbortController();
  const end = (): void => abort.abort();
  const timer = setTimeout(end, ANSWER_MS);
  // A signal lives longer than its requests: each takes its listener along.
  init.signal?.addEventListener('abort', end);
  if (init.signal?.aborted) end();
  try {
    const response = await fetch(settings.baseUrl + path, {
      ...init,
      headers: {
        accept: 'application/json',
        ...headersOf(settings),
        ...(init.body && { 'content-type': 'application/json' }),
      },
      credentials: credentialsOf(settings),
      cache: 'no-store',
      signal: abort.signal,
    });
    return { status: response.status, body: await response.json().catch(() => undefined) };
  } catch {
    return { status: 0, body: undefined };
  } finally {
    clearTimeout(timer);
    init.signal?.removeEventListener('abort', end);
  }
}

/** Who the cookie speaks for; undefined when nobody answers. An API key speaks for itself. */
export async function whoIs(settings: StreamSettings): Promise<string | undefined> {
  if (settings.apiKey) return '';
  const { status, body } = await request(settings, 'api/whoami');
  if (status === 0 || status >= 500 || status === 429) return undefined;
  return (body as { id?: string } | null | undefined)?.id ?? 'anonymous';
}
