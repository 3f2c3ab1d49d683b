import { type FSWatcher, watch } from 'node:fs';

/**
 * Hears from the kernel (inotify) when any process writes to a SQLite database, that is to its file or to its write-ahead
 * log. A write comes before its commit can be seen, and may be rolled back.
 *
 * On Linux only: elsewhere watching a file opens it, and to close it again would drop the locks of this process on it.
 */
export class FileChangeNotifier {
  readonly #watchers: FSWatcher[] = [];

  /** @param onError from then on nothing is heard any more */
  constructor(file: string, onWrite: () => void, onError: (error: Error) => void) {
    if (process.platform !== 'linux') throw new Error('only Linux tells of writes');
    for (const path of [file, `${file}-wal`]) {
      try {
        const watcher = watch(path, { persistent: false }, onWrite);
        watcher.on('error', onError);
        this.#watchers.push(watcher);
      } catch (error) {
        // Without a write-ahead log commits are written to the file itself.
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
