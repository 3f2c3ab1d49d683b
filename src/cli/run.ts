/** Runs a command. Prints its error as one line for the administrator and sets the exit code. */
import { type Command, CommanderError } from 'commander';
import { LightconeError } from '../core/errors.js';
import { EXIT } from '../core/exit-codes.js';
import { printable } from '../lib/printable.js';
import { nameProcess } from './process-name.js';

/** Time in which a slow reader of the log can take the last lines. */
const LAST_LINES_MS = 1_000;

export async function run(command: Command, argv: readonly string[]): Promise<void> {
  nameProcess();
  // Only the own account may use the files of this process: database, lock, map, and the socket until it has `socket_mode`.
  process.umask(0o077);
  // Log rotators send these signals. By default SIGUSR1 opens Node's debugger, and SIGUSR2 ends the process.
  process.on('SIGUSR1', ignore).on('SIGUSR2', ignore);
  // `lightcone config | head` closes our output early; that is not an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  try {
    await command.parseAsync(argv as string[]);
  } catch (error) {
    process.exitCode = report(error, command.name());
  }
  // The command has ended. A last line for a log that nobody reads must not keep the process alive.
  setTimeout(() => process.exit(), LAST_LINES_MS).unref();
}

const ignore = (): void => {};

function report(error: unknown, name: string): number {
  if (error instanceof CommanderError) {
    // Commander has already printed the help or the error.
    return error.exitCode === 0 ? 0 : EXIT.invalidUsage;
  }
  if (error instanceof LightconeError) {
    process.stderr.write(printable(`${name}: ${error.message}\n`));
    if (error.code === 'CONFIG_INVALID' || error.code === 'PARAMETER_INVALID') return EXIT.invalidUsage;
    return error.code === 'NOT_NOW' ? EXIT.notNow : EXIT.failed;
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const detailed = /^(debug|trace)$/.test(process.env.LIGHTCONE_LOG_LEVEL ?? '');
  process.stderr.write(
    printable(
      `${name}: unexpected error: ${detailed ? stack : `${message} (LIGHTCONE_LOG_LEVEL=debug shows the stack)`}\n`,
    ),
  );
  return EXIT.failed;
}
