/** One-shot commands. They print results to standard output and logs to standard error. */
import { Command, InvalidArgumentError } from 'commander';
import type { UserAction } from '../app/commands/admin.js';
import { EXIT } from '../core/exit-codes.js';
import { printable } from '../lib/printable.js';
import { prepare, settingsFile, withConfigFlag, withSettingFlags } from './setting-flags.js';

const print = (line: string): void => {
  process.stdout.write(`${printable(line)}\n`);
};

/** A command that asks a worker of this host: `serve` may have its address from a flag. */
const ofWorker = (command: Command): Command => withSettingFlags(command, (key) => key === 'listen');

/** From now on these signals abort the returned signal instead of ending the process. */
function untilInterrupted(): AbortSignal {
  const abort = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => abort.abort());
  return abort.signal;
}

const notBlank = (value: string): string => {
  if (value.trim() === '') throw new InvalidArgumentError('It is empty. Give an e-mail address.');
  return value;
};

interface MigrateOptions {
  attach?: true;
  quietTriggers?: true;
  noisyTriggers?: true;
}

export function createMigrateCommand(): Command {
  return withConfigFlag(new Command('migrate'))
    .description('Create or upgrade tables and triggers; every standalone start does so, too')
    .option('--attach', 'change the triggers of a Galaxy instead; needs one of the next two options')
    .option('--quiet-triggers', 'the triggers NOTIFY only while the monitor does not poll')
    .option('--noisy-triggers', 'the triggers NOTIFY at every change, as in Galaxy')
    .action(async (options: MigrateOptions, command: Command) => {
      const { attach, quietTriggers, noisyTriggers } = options;
      const one = (quietTriggers === true) !== (noisyTriggers === true);
      if (attach !== true && (quietTriggers || noisyTriggers)) {
        command.error(
          'error: --quiet-triggers and --noisy-triggers need --attach; a standalone Lightcone always has quiet triggers',
        );
      }
      if (attach && !one) command.error('error: --attach needs --quiet-triggers or --noisy-triggers');
      const { config, logger } = await prepare(command, { quiet: true });
      const { changeTriggers, migrateDatabase } = await import('../app/commands/admin.js');
      if (attach) await changeTriggers(config, quietTriggers ? 'quiet' : 'noisy', { logger, print });
      else await migrateDatabase(config, { logger, print });
    });
}

export function createUserCommand(): Command {
  const user = new Command('user').description('Manage the users of a standalone Lightcone');
  const add = withConfigFlag(user.command('add <email>'))
    .description('Add a user; the last word of the output is the API key')
    .option('--admin', 'make the user an administrator')
    .action(async (email: string, options: { admin?: true }) => {
      const { config, logger } = await prepare(add, { quiet: true });
      const { addAccount } = await import('../app/commands/admin.js');
      await addAccount(config, { email, admin: options.admin === true }, { logger, print });
    });
  const list = withConfigFlag(user.command('list'))
    .description('List users with their role and the age of their API keys')
    .action(async () => {
      const { config, logger } = await prepare(list, { quiet: true });
      const { listAccounts } = await import('../app/commands/admin.js');
      await listAccounts(config, { logger, print });
    });
  const actions = {
    key: 'Replace the API key of a user; the last word of the output is the new key',
    revoke: 'Revoke all API keys and sessions of a user',
    remove: 'Remove a user; "user add" restores the user',
  };
  for (const [action, description] of Object.entries(actions)) {
    const command = withConfigFlag(user.command(`${action} <email>`))
      .description(description)
      .action(async (email: string) => {
        const { config, logger } = await prepare(command, { quiet: true });
        const { changeAccount } = await import('../app/commands/admin.js');
        await changeAccount(config, action as UserAction, email, { logger, print });
      });
  }
  return user;
}

export function createNotifyCommand(): Command {
  return withConfigFlag(new Command('notify'))
    .description('Send a notification to a user, or a broadcast to everybody')
    .argument('<subject>')
    .argument('<message>')
    .option('--broadcast', 'send to everybody')
    .option('--user <email>', 'send to this user', notBlank)
    .action(
      async (
        subject: string,
        message: string,
        options: { broadcast?: true; user?: string },
        command: Command,
      ) => {
        if ((options.broadcast === true) === (options.user !== undefined)) {
          command.error('error: name the recipient: --broadcast or --user EMAIL');
        }
        const { config, logger } = await prepare(command, { quiet: true });
        const { notify } = await import('../app/commands/notify.js');
        await notify(config, { email: options.user, subject, message }, { logger, print });
      },
    );
}

export function createTailCommand(): Command {
  return ofWorker(new Command('tail'))
    .description('Follow the events of one user, one per line, until Ctrl-C; run it on the host of a worker')
    .requiredOption('--user <email>', 'the user whose events to follow', notBlank)
    .option('--json', 'print one JSON object per line')
    .action(async (options: { user: string; json?: true }, command: Command) => {
      const { config, logger } = await prepare(command, { quiet: true });
      const { tail } = await import('../app/commands/tail.js');
      const say = (line: string): void => {
        process.stderr.write(`${line}\n`);
      };
      await tail(config, options.user, {
        json: options.json === true,
        logger,
        print,
        say,
        signal: untilInterrupted(),
      });
    });
}

export function createDoctorCommand(): Command {
  return ofWorker(new Command('doctor'))
    .description('Check settings, database, broker, election and clocks; print one line for each')
    .option('--probe', 'also make a test change and time each hop on its way to a stream; leaves no trace')
    .action(async ({ probe = false }: { probe?: boolean }, command: Command) => {
      const { config, logger } = await prepare(command, { quiet: true });
      const { doctor } = await import('../app/commands/doctor/doctor.js');
      const file = settingsFile(command);
      const healthy = await doctor(config, file, {
        logger,
        print,
        probe: probe ? { interruptible: untilInterrupted } : undefined,
      });
      if (!healthy) process.exitCode = EXIT.failed;
    });
}
