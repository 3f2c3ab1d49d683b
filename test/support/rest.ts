/** Requests to the API as a client sends them. */
import { Installation, type Settings } from './installation.js';

export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the server said; tests look at it
  body: any;
  headers: Headers;
}

export interface Ask {
  /** A demo user, whose key is sent. */
  as?: 'alice' | 'bob' | 'admin' | undefined;
  body?: unknown;
  headers?: Record<string, string>;
}

export type Rest = (method: string, path: string, ask?: Ask) => Promise<Answer>;

export const restOf =
  (url: string): Rest =>
  async (method, path, { as, body, headers } = {}) => {
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(as && { 'x-api-key': `demo-${as}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      redirect: 'manual',
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json');
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  };

/** Everything switched on. */
export const EVERYTHING: Settings = {
  galaxy: {
    enable_notification_system: true,
    interactivetools_enable: true,
    interactivetools_map: 'map.sqlite',
    bootstrap_admin_api_key: 'bootstrap-key',
  },
};

/** The API on both databases, each with the bus that goes with it. */
export const INSTALLATIONS: [string, () => Promise<Installation>][] = [
  ['SQLite', async () => Installation.embedded()],
  ['PostgreSQL and RabbitMQ', () => Installation.production()],
];

/** [what is wrong, method, path, request, HTTP status, err_code] */
export type Refusal = [what: string, method: string, path: string, ask: Ask, status: number, code: number];

export const BOOTSTRAP = { headers: { 'x-api-key': 'bootstrap-key' } };
