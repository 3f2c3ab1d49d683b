import { Command } from 'commander';
import { SETTINGS, type Section } from '../config/schema.js';
import type { Setting } from '../config/setting.js';
import { EXIT } from '../core/exit-codes.js';
import { loadOptions, withSettingFlags } from './setting-flags.js';

export function createConfigCommand(): Command {
  return withSettingFlags(
    new Command('config')
      .option('--check', 'print only warnings and errors')
      .option('--strict', 'exit with 2 if there is a warning'),
  )
    .description('Print the settings in effect, their sources, and what is wrong; secrets are masked')
    .action(async (_, command: Command) => {
      const { loadSettings } = await import('../config/load.js');
      const { config, settled } = loadSettings(loadOptions(command));
      const { warnings } = config;
      for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
      const { check, strict } = command.opts<{ check?: true; strict?: true }>();
      if (strict && warnings.length > 0) process.exitCode = EXIT.invalidUsage;
      if (check) {
        const what = warnings.length > 0 ? `, with ${warnings.length === 1 ? 'a warning' : 'warnings'}` : '';
        process.stdout.write(`the settings are valid${what}\n`);
        return;
      }
      // URLs are printed with a masked password, other secrets as ***.
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
