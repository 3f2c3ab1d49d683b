/** A virtual host of its own for a test file, made and looked at over the management plugin's HTTP. */
import { randomUUID } from 'node:crypto';

export interface Vhost {
  name: string;
  amqpUrl: string;
  queues(): Promise<
    Array<{
      name: string;
      durable: boolean;
      exclusive: boolean;
      auto_delete: boolean;
      arguments: Record<string, unknown>;
    }>
  >;
  bindings(): Promise<Array<{ source: string; destination: string; routing_key: string }>>;
  exchanges(): Promise<
    Array<{
      name: string;
      type: string;
      durable: boolean;
      auto_delete: boolean;
      internal: boolean;
      arguments: Record<string, unknown>;
    }>
  >;
  connections(): Promise<Array<{ name: string; client_properties: { connection_name?: string } }>>;
  /** The broker ends every connection to this virtual host. @returns how many there were */
  closeConnections(): Promise<number>;
  deleteExchange(name: string): Promise<void>;
  /** Of the user of `amqpUrl`; each a regular expression of names. */
  permit(permissions: { configure: string; write: string; read: string }): Promise<void>;
  /** After something else took it away. */
  create(): Promise<void>;
  /** Deletes it with all that is in it, and makes it anew. */
  recreate(): Promise<void>;
  delete(): Promise<void>;
}

export async function createVhost(broker: { amqpUrl: string; managementUrl: string }): Promise<Vhost> {
  const name = `test-${randomUUID().slice(0, 8)}`;
  const { managementUrl } = broker;
  const user = new URL(managementUrl).username;
  const permit: Vhost['permit'] = async (permissions) => {
    await must(api(managementUrl, 'PUT', `/permissions/${name}/${user}`, permissions));
  };
  const create = async (): Promise<void> => {
    await must(api(managementUrl, 'PUT', `/vhosts/${name}`));
    await permit({ configure: '.*', write: '.*', read: '.*' });
  };
  await create();
  const get = async <Row>(path: string): Promise<Row[]> =>
    (await (await must(api(managementUrl, 'GET', path))).json()) as Row[];
  const connections: Vhost['connections'] = () => get(`/vhosts/${name}/connections`);
  const url = new URL(broker.amqpUrl);
  url.pathname = `/${name}`;
  return {
    name,
    amqpUrl: url.href,
    connections,
    queues: () => get(`/queues/${name}`),
    bindings: async () =>
      (await get<{ source: string; destination: string; routing_key: string }>(`/bindings/${name}`)).filter(
        (binding) => binding.source !== '',
      ),
    exchanges: async () =>
      (await get<Awaited<ReturnType<Vhost['exchanges']>>[number]>(`/exchanges/${name}`)).filter(
        (exchange) => exchange.name !== '' && !exchange.name.startsWith('amq.'),
      ),
    closeConnections: async () => {
      const open = await connections();
      for (const connection of open) {
        await api(managementUrl, 'DELETE', `/connections/${encodeURIComponent(connection.name)}`);
      }
      return open.length;
    },
    deleteExchange: async (exchange) => {
      await must(api(managementUrl, 'DELETE', `/exchanges/${name}/${exchange}`));
    },
    permit,
    create,
    recreate: async () => {
      await must(api(managementUrl, 'DELETE', `/vhosts/${name}`));
      await create();
    },
    delete: async () => {
      await must(api(managementUrl, 'DELETE', `/vhosts/${name}`));
    },
  };
}

/** One request to `/api`; a broker that is not there answers like one that is not ready. */
export async function api(
  managementUrl: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<Response> {
  const { origin, username, password } = new URL(managementUrl);
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  try {
    return await fetch(`${origin}/api${path}`, {
      method,
      headers: { authorization, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(5_000),
    });
  } catch (error) {
    return new Response(String(error), { status: 503 });
  }
}

async function must(request: Promise<Response>): Promise<Response> {
  const response = await request;
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  return response;
}
