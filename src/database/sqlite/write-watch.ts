import { type FSWatcher, watch } from 'node:fs';

/**
 * Receives from the kernel (inotify) a notification of each write to a SQLite database, that is to its file or its
 * write-ahead log, by any process. A write precedes the visibility of its commit, and may be rolled back.
 * Linux only: elsewhere watching a file opens it, and closing it would drop the locks of this process on it.
 */
export class FileChangeNotifier {
  readonly #watchers: FSWatcher[] = [];

  /** @param onError called at the end of notifications */
  constructor(file: string, onWrite: () => void, onError: (error: Error) => void) {
    if (process.platform !== 'linux') throw new Error('only Linux has write notifications');
    for (const path of [file, `${file}-wal`]) {
      try {
        const watcher = watch(path, { persistent: false }, onWrite);
        watcher.on('error', onError);
        this.#watchers.push(watcher);
      } catch (error) {
        // Without a write-ahead log, commits go to the file itself.
        if (path !== file && (error as NodeJS.ErrnoException).code === 'ENOENT') continue;
        this.close();
        throw error;
      }
    }
  }

  close(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }
}
