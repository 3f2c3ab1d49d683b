import { Command } from 'commander';
import { SETTINGS, type Section } from '../config/schema.js';
import type { Setting } from '../config/setting.js';
import { EXIT } from '../core/exit-codes.js';
import { loadOptions, withSettingFlags } from './setting-flags.js';

export function createConfigCommand(): Command {
  return withSettingFlags(
    new Command('config')
      .option('--check', 'print nothing but warnings and mistakes')
      .option('--strict', 'end with 2 where there is a warning'),
  )
    .description('Print the settings in effect, where each comes from, and what is wrong; secrets are masked')
    .action(async (_, command: Command) => {
      const { loadSettings } = await import('../config/load.js');
      const { config, settled } = loadSettings(loadOptions(command));
      const { warnings } = config;
      for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
      const { check, strict } = command.opts<{ check?: true; strict?: true }>();
      if (strict && warnings.length > 0) process.exitCode = EXIT.wronglyAsked;
      if (check) {
        const what = warnings.length > 0 ? `, with ${warnings.length === 1 ? 'a warning' : 'warnings'}` : '';
        process.stdout.write(`the settings are valid${what}\n`);
        return;
      }
      // URLs are shown with the password masked; other secrets not at all.
      const display: Record<string, string> = {
        database_connection: config.database.display,
        amqp_internal_connection: config.bus.display,
      };
      const lines = (Object.keys(SETTINGS) as Section[]).flatMap((section) => [
        `${section}:`,
        ...Object.entries(SETTINGS[section] as Record<string, Setting<unknown>>).map(([key, setting]) => {
          const value = (settled.values[section] as Record<string, unknown>)[key];
          const shown =
            display[key] ?? (setting.secret && value !== undefined ? '***' : JSON.stringify(value));
          return `  ${key}: ${shown ?? 'null'}  # ${settled.sourceOf(section, key)}`;
        }),
      ]);
      process.stdout.write(`${lines.join('\n')}\n`);
    });
}
