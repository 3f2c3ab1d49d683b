/**
 * Runs a command and turns what it throws into a line for an administrator and an exit code: 2 when what was asked is
 * wrong (settings or command line: trying again does not help, so systemd does not), 1 for everything else.
 */
import { type Command, CommanderError } from 'commander';
import { LightconeError } from '../core/errors.js';

const ASKED_WRONGLY = 2;

export async function run(command: Command, argv: readonly string[]): Promise<void> {
  // `lightcone config | head` closes our output early; that is not an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  try {
    await command.parseAsync(argv as string[]);
  } catch (error) {
    process.exitCode = report(error, command.name());
  }
}

function report(error: unknown, name: string): number {
  if (error instanceof CommanderError) {
    // Commander has printed the help or the mistake already.
    return error.exitCode === 0 ? 0 : ASKED_WRONGLY;
  }
  if (error instanceof LightconeError) {
    process.stderr.write(`${name}: ${error.message}\n`);
    return error.code === 'CONFIG_INVALID' ? ASKED_WRONGLY : 1;
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const detailed = /^(debug|trace)$/.test(process.env.LIGHTCONE_LOG_LEVEL ?? '');
  process.stderr.write(
    `${name}: unexpected error: ${detailed ? stack : `${message} (LIGHTCONE_LOG_LEVEL=debug tells more)`}\n`,
  );
  return 1;
}
