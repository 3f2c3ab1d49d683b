/** Where a command finds the worker of its settings. */
import type { HttpConfig } from '../../../config/config.js';

type Listen = HttpConfig['listen'];

/** For people. */
export const whereOf = (listen: Listen): string =>
  listen.kind === 'unix' ? `unix:${listen.path}` : `${listen.host}:${listen.port}`;

/** For `http.request`. */
export const socketOf = (listen: Listen): { socketPath: string } | { host: string; port: number } =>
  listen.kind === 'unix' ? { socketPath: listen.path } : { host: reachable(listen.host), port: listen.port };

/** Not every system can connect to an address that means "all addresses". */
const reachable = (host: string): string => (host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host);
