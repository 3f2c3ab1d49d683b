/**
 * The services that a whole test run shares. A test file asks for one; the process that runs `global-setup.ts` starts it
 * at the first request, so that a run of unit tests starts nothing.
 */
import { inject } from 'vitest';

declare module 'vitest' {
  export interface ProvidedContext {
    /** `http://127.0.0.1:port` of the starter in global-setup. */
    servicesUrl: string;
  }
}

export interface SharedServices {
  /** Administrator's URL. */
  postgres: { url: string };
  rabbitmq: { amqpUrl: string; managementUrl: string };
}

/**
 * Starts the service if this is the first request of the run. Tests make their own part of it: `createTestDatabase`,
 * `createVhost(await sharedService('rabbitmq'))`.
 */
export async function sharedService<Name extends keyof SharedServices>(
  name: Name,
): Promise<SharedServices[Name]> {
  const response = await fetch(`${inject('servicesUrl')}/${name}`);
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as SharedServices[Name];
}
