/** Makes one flag per key of the `sse:` section from the table of settings. */
import { type Command, Option } from 'commander';
import type { Config } from '../config/config.js';
import { SSE_SETTINGS, type SseKey } from '../config/schema.js';
import type { Setting } from '../config/setting.js';
import { type Flags, flagName, type LoadOptions } from '../config/sources.js';
import type { Logger } from '../telemetry/logger.js';

const KEYS = Object.keys(SSE_SETTINGS) as SseKey[];

/** Headings of `--help`. */
const GROUPS: Readonly<Record<string, readonly SseKey[]>> = {
  'Addresses and processes:': [
    'listen',
    'socket_mode',
    'workers',
    'metrics_listen',
    'monitor_metrics_listen',
  ],
  'Streams:': [
    'keepalive_interval',
    'recent_window',
    'row_clock_difference',
    'queue_size',
    'write_timeout',
    'permission_check_interval',
  ],
  'Limits and access:': [
    'max_connections',
    'max_connections_per_user',
    'max_connections_per_address',
    'api_rate_limit',
    'trust_proxy',
    'allowed_origins',
    'entry_point_hosts',
  ],
  'Monitor:': ['attach_to_galaxy', 'debounce', 'heartbeat_interval'],
  'Process:': ['drain_timeout', 'log_level', 'node_internals'],
};

export function withConfigFlag(command: Command): Command {
  return command.option('-c, --config <file>', 'settings file (galaxy.yml); default: GALAXY_CONFIG_FILE');
}

/** Adds `--config` and the flags of the `sse:` section. @param applies which of them apply to this command */
export function withSettingFlags(command: Command, applies: (key: SseKey) => boolean = () => true): Command {
  withConfigFlag(command);
  for (const [group, keys] of Object.entries(GROUPS)) {
    for (const key of keys.filter(applies)) command.addOption(flagOf(key).helpGroup(group));
  }
  // Omits Commander's "preset", which looks like a default.
  return command.configureHelp({ optionDescription: ({ description }) => description });
}

function flagOf(key: SseKey): Option {
  const setting: Setting<unknown> = SSE_SETTINGS[key];
  const value = setting.type === 'bool' ? '[true|false]' : `<${setting.unit ?? setting.type}>`;
  const flag = new Option(`${flagName(key)} ${value}`, `${setting.doc} (default: ${shownDefault(setting)})`);
  return setting.type === 'bool' ? flag.preset('true') : flag;
}

function shownDefault({ default: value, attached, unit }: Setting<unknown>): string {
  const shown = (one: unknown): string =>
    Array.isArray(one) && one.length === 0
      ? 'none'
      : `${one ?? 'unset'}${unit === undefined ? '' : ` ${unit}`}`;
  return attached === undefined ? shown(value) : `${shown(value)}; beside a Galaxy ${shown(attached)}`;
}

/** The arguments of `loadConfig`: the flags of this command and the environment of this process. */
export function loadOptions(command: Command): LoadOptions {
  const given = command.opts<Record<string, string | undefined>>();
  const sse: Partial<Record<SseKey, string>> = {};
  for (const key of KEYS) {
    const value = given[key.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())];
    if (value !== undefined) sse[key] = value;
  }
  const flags: Flags = { config: given.config, sse };
  return { env: process.env, flags, cwd: process.cwd() };
}

/** The file that `loadConfig` reads; undefined for the embedded default. */
export const settingsFile = (command: Command): string | undefined =>
  command.opts<{ config?: string }>().config ?? (process.env.GALAXY_CONFIG_FILE || undefined);

/**
 * Settings and logger of a command; warnings about the settings are logged.
 *
 * @param quiet for one-shot commands, which print an error as one sentence: they log nothing unless the settings choose
 * another level than the default
 */
export async function prepare(
  command: Command,
  { quiet = false } = {},
): Promise<{ config: Config; logger: Logger }> {
  const [{ loadConfig }, { createLogger }] = await Promise.all([
    import('../config/load.js'),
    import('../telemetry/logger.js'),
  ]);
  const config = loadConfig(loadOptions(command));
  const logger = createLogger(quiet && config.logLevel === 'info' ? 'silent' : config.logLevel);
  for (const warning of config.warnings) {
    if (quiet) process.stderr.write(`warning: ${warning}\n`);
    else logger.warn({ component: 'settings' }, warning);
  }
  return { config, logger };
}
