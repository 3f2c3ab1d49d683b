/** Programs of the benchmark as child processes that are asked by messages. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export class Child {
  private waiting: { resolve: (value: never) => void; reject: (error: Error) => void }[] = [];

  private constructor(
    private readonly process: ChildProcess,
    file: string,
  ) {
    process.on('message', ({ value, error }: { value: never; error?: string }) => {
      const asked = this.waiting.shift();
      if (error === undefined) asked?.resolve(value);
      else asked?.reject(new Error(`${file}: ${error}`));
    });
    process.on('exit', () => {
      for (const { reject } of this.waiting.splice(0)) reject(new Error(`${file} ended`));
    });
  }

  /** @param file of this folder, without extension; it sends one message when it is ready */
  static async start(
    file: string,
    { args = [], env = {}, ready = true }: { args?: string[]; env?: NodeJS.ProcessEnv; ready?: boolean } = {},
  ): Promise<Child> {
    const child = fork(join(import.meta.dirname, `${file}.js`), args, {
      env: { ...process.env, ...env },
      // Such as --cpu-prof.
      execArgv: ['--expose-gc', ...(process.env.BENCH_NODE_FLAGS?.split(' ') ?? [])],
    });
    const kill = (): void => {
      child.kill('SIGKILL');
    };
    process.once('exit', kill);
    child.once('exit', () => process.removeListener('exit', kill));
    if (ready) await Promise.race([once(child, 'message'), Child.ended(child, file)]);
    return new Child(child, file);
  }

  private static async ended(child: ChildProcess, file: string): Promise<never> {
    const [code] = await once(child, 'exit');
    throw new Error(`${file} ended with code ${code}`);
  }

  ask<Answer>(question: object): Promise<Answer> {
    this.process.send(question);
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
    });
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = once(this.process, 'exit');
    this.process.kill('SIGTERM');
    await exited;
  }
}
