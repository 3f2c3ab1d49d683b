/** Commands that do one thing and end. What they print on standard output is theirs alone; logs go to standard error. */
import { Command, InvalidArgumentError } from 'commander';
import type { UserAction } from '../app/commands/admin.js';
import { EXIT } from '../core/exit-codes.js';
import { printable } from '../lib/printable.js';
import { prepare, settingsFile, withConfigFlag } from './setting-flags.js';

const print = (line: string): void => {
  process.stdout.write(`${printable(line)}\n`);
};

/** From now on these signals do not end the process, but what listens. */
function untilInterrupted(): AbortSignal {
  const abort = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => abort.abort());
  return abort.signal;
}

const notBlank = (value: string): string => {
  if (value.trim() === '') throw new InvalidArgumentError('It is empty; give an e-mail address.');
  return value;
};

interface MigrateOptions {
  attach?: true;
  quietTriggers?: true;
  noisyTriggers?: true;
}

export function createMigrateCommand(): Command {
  return withConfigFlag(new Command('migrate'))
    .description('Create or upgrade the tables and triggers (done on every start, too, unless attached)')
    .option('--attach', 'change the triggers of a Galaxy instead, as one of the next two says')
    .option('--quiet-triggers', 'they NOTIFY only while the monitor does not poll')
    .option('--noisy-triggers', 'they NOTIFY with every change, as Galaxy made them')
    .action(async (options: MigrateOptions, command: Command) => {
      const { attach, quietTriggers, noisyTriggers } = options;
      const one = (quietTriggers === true) !== (noisyTriggers === true);
      if (attach !== true && (quietTriggers || noisyTriggers)) {
        command.error(
          'error: --quiet-triggers and --noisy-triggers go with --attach; a standalone Lightcone has quiet ones',
        );
      }
      if (attach && !one) command.error('error: --attach needs either --quiet-triggers or --noisy-triggers');
      const { config, logger } = await prepare(command, { quiet: true });
      const { changeTriggers, migrateDatabase } = await import('../app/commands/admin.js');
      if (attach) await changeTriggers(config, quietTriggers ? 'quiet' : 'noisy', { logger, print });
      else await migrateDatabase(config, { logger, print });
    });
}

export function createUserCommand(): Command {
  const user = new Command('user').description('Manage the users of a standalone Lightcone');
  const add = withConfigFlag(user.command('add <email>'))
    .description('Add a user; the API key is the last word printed')
    .option('--admin', 'make the user an administrator')
    .action(async (email: string, options: { admin?: true }) => {
      const { config, logger } = await prepare(add, { quiet: true });
      const { addAccount } = await import('../app/commands/admin.js');
      await addAccount(config, { email, admin: options.admin === true }, { logger, print });
    });
  const list = withConfigFlag(user.command('list'))
    .description('List users, administrators, and how old their API keys are')
    .action(async () => {
      const { config, logger } = await prepare(list, { quiet: true });
      const { listAccounts } = await import('../app/commands/admin.js');
      await listAccounts(config, { logger, print });
    });
  const actions = {
    key: 'Give a user a new API key instead of the old one; it is the last word printed',
    revoke: 'End all API keys and sessions of a user',
    remove: 'Remove a user; "user add" brings the user back',
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
    .description('Send a notification to one user, or a broadcast to everybody')
    .argument('<subject>')
    .argument('<message>')
    .option('--broadcast', 'to everybody')
    .option('--user <email>', 'to this user', notBlank)
    .action(
      async (
        subject: string,
        message: string,
        options: { broadcast?: true; user?: string },
        command: Command,
      ) => {
        if ((options.broadcast === true) === (options.user !== undefined)) {
          command.error('error: say who gets it: either --broadcast or --user EMAIL');
        }
        const { config, logger } = await prepare(command, { quiet: true });
        const { notify } = await import('../app/commands/notify.js');
        await notify(config, { email: options.user, subject, message }, { logger, print });
      },
    );
}

export function createTailCommand(): Command {
  return withConfigFlag(new Command('tail'))
    .description('Follow what one user is sent, line by line, until Ctrl-C; run it where a worker runs')
    .requiredOption('--user <email>', 'whose stream', notBlank)
    .option('--json', 'one JSON object per line')
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
  return withConfigFlag(new Command('doctor'))
    .description('Check settings, database, broker, election and clocks; one line each')
    .option(
      '--probe',
      'also make a change of its own, and time each hop of its way to a stream; leaves no trace',
    )
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
