import { connect } from 'node:net';

export interface RawConnection {
  /** Everything that came so far. */
  readonly text: string;
  readonly closed: boolean;
  write(bytes: string): void;
  /** Ends our side only. */
  end(): void;
  destroy(): void;
  /** Resolves as soon as the condition holds for what came. */
  until(condition: (it: { text: string; closed: boolean }) => boolean, within?: number): Promise<string>;
}

/** Bytes to a server and back, for requests that no well-behaved client would send. */
export function rawConnection(url: string, bytes: string): RawConnection {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  const state = { text: '', closed: false };
  const watchers = new Set<() => void>();
  const look = (): void => {
    for (const watcher of [...watchers]) watcher();
  };
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    state.text += text;
    look();
  });
  // The server has ended its side or reset the connection: nothing more will come.
  for (const event of ['end', 'close'] as const) {
    socket.on(event, () => {
      state.closed = true;
      look();
    });
  }
  socket.on('error', () => {});
  socket.write(bytes);
  return {
    get text() {
      return state.text;
    },
    get closed() {
      return state.closed;
    },
    write: (more) => {
      socket.write(more);
    },
    end: () => {
      socket.end();
    },
    destroy: () => {
      socket.destroy();
    },
    until: (condition, within = 5_000) =>
      new Promise((resolve, reject) => {
        const done = (): void => {
          clearTimeout(timer);
          watchers.delete(watcher);
        };
        const watcher = (): void => {
          if (!condition(state)) return;
          done();
          resolve(state.text);
        };
        const timer = setTimeout(() => {
          done();
          reject(new Error(`not within ${within} ms; came: ${JSON.stringify(state.text)}`));
        }, within);
        watchers.add(watcher);
        watcher();
      }),
  };
}
