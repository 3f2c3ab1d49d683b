/** The command line. Nothing heavy is loaded here: each command loads what it needs when it runs. */
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
    .description('Server-Sent Events for Galaxy: a committed change reaches every tab concerned, soon')
    .version(version());
  for (const command of [
    createServeCommand(),
    createMonitorCommand('monitor'),
    createMigrateCommand(),
    createUserCommand(),
    createNotifyCommand(),
    createDoctorCommand(),
    createTailCommand(),
    createConfigCommand(),
  ]) {
    program.addCommand(command);
  }
  throwInsteadOfExit(program);
  return program;
}

/** So that `run` alone decides on exit codes. */
function throwInsteadOfExit(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) throwInsteadOfExit(child);
}
