/** The command line. Each command loads its heavy modules when it runs, so `--help` stays fast. */
import { Command } from 'commander';
import {
  createDoctorCommand,
  createMigrateCommand,
  createNotifyCommand,
  createTailCommand,
  createUserCommand,
} from './admin-commands.js';
import { createConfigCommand } from './config-command.js';
import { createMonitorCommand } from './monitor-command.js';
import { createServeCommand } from './serve-command.js';
import { version } from './version.js';

export function createProgram(): Command {
  const program = new Command('lightcone')
    .description(
      'Server-Sent Events for Galaxy: delivers committed changes to browser tabs within milliseconds',
    )
    .version(version());
  const groups = {
    'Run:': [createServeCommand(), createMonitorCommand('monitor')],
    'Set up:': [createConfigCommand(), createMigrateCommand(), createUserCommand(), createNotifyCommand()],
    'Diagnose:': [createDoctorCommand(), createTailCommand()],
  };
  for (const [group, commands] of Object.entries(groups)) {
    for (const command of commands) program.addCommand(command.helpGroup(group));
  }
  helpOfKnownCommands(program);
  throwInsteadOfExit(program);
  return program;
}

/** Replaces Commander's `help`, which answers an unknown command with the help of all commands. */
function helpOfKnownCommands(command: Command): void {
  for (const child of command.commands.filter(({ commands }) => commands.length > 0))
    helpOfKnownCommands(child);
  command.helpCommand(false);
  command
    .command('help [command...]')
    .description('display help for command')
    .action((path: string[]) => {
      let wanted = command;
      for (const name of path) {
        const child = wanted.commands.find((one) => one.name() === name);
        if (!child)
          return wanted.error(`error: unknown command '${name}'`, { code: 'commander.unknownCommand' });
        wanted = child;
      }
      wanted.help();
    });
}

/** Lets `run` alone choose exit codes. */
function throwInsteadOfExit(command: Command, path = command.name()): void {
  command.exitOverride((error) => {
    if (error.code === 'commander.unknownCommand' && !error.message.includes('Did you mean')) {
      process.stderr.write(`(${path} --help lists the commands)\n`);
    }
    throw error;
  });
  for (const child of command.commands) throwInsteadOfExit(child, `${path} ${child.name()}`);
}
