import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import { needsOf } from './needs.js';
import { MissingProgramsError, provide } from './programs.js';
import type { SharedServices } from './services.js';

interface Service {
  stop(): Promise<void>;
}

/** Imported on demand: these modules cost time that a run of unit tests does not need. */
const STARTERS: Record<keyof SharedServices, () => Promise<Service>> = {
  postgres: async () => (await import('./postgres.js')).startSharedPostgres(),
  rabbitmq: async () => (await import('./rabbitmq.js')).startSharedRabbit(),
};

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  provideOrExit(needsOf(project.vitest.state.getPaths()));
  const started = new Map<string, Promise<Service>>();

  const server = createServer(async (request, response) => {
    const name = request.url?.slice(1) as keyof SharedServices;
    try {
      const starting = started.get(name) ?? STARTERS[name]();
      started.set(name, starting);
      response.setHeader('content-type', 'application/json').end(JSON.stringify(await starting));
    } catch (error) {
      response.writeHead(500).end(error instanceof Error ? error.message : String(error));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  project.provide('servicesUrl', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);

  // Vitest ends on these signals without its teardown; the services kill their children when the process exits.
  const onSignal = () => process.exit(130);
  process.once('SIGTERM', onSignal);

  return async () => {
    process.removeListener('SIGTERM', onSignal);
    server.close();
    server.closeAllConnections();
    await Promise.all(
      [...started.values()].map((starting) =>
        starting.then(
          (it) => it.stop(),
          () => {},
        ),
      ),
    );
  };
}

/** By a thrown error, vitest would say besides that it found no tests. */
function provideOrExit(needs: Set<string>): void {
  try {
    provide(needs);
  } catch (error) {
    if (!(error instanceof MissingProgramsError)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}
