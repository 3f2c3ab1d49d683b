/** The broadcasts of the simulated database, read by the product's own code; some of the rows cannot be read. */
import type { Cursor } from '../../../src/core/events.js';
import type { NotificationRow } from '../../../src/database/notification-forms.js';
import { SqlNotificationLog } from '../../../src/database/notification-log.js';
import type { Sql, SqlRow, SqlValue } from '../../../src/database/port.js';
import { formatSql, parseSql } from '../../../src/lib/time.js';

/** `never ends` is a row as `expiration_time = 'infinity'` makes it; no program of ours writes the last form. */
export type BroadcastForm = 'plain' | 'never ends' | 'unreadable';

const IN_A_YEAR = '2027-01-01 00:00:00';

export class SimBroadcasts {
  readonly log: SqlNotificationLog;
  private readonly rows: NotificationRow[] = [];

  constructor(
    private readonly clock: () => Cursor,
    private readonly ask: <T>(look: () => T) => Promise<T>,
  ) {
    const sql: Pick<Sql, 'dialect' | 'all'> = {
      dialect: 'postgresql',
      all: async <Row extends SqlRow>(text: string, params: readonly SqlValue[] = []): Promise<Row[]> => {
        if (!text.includes("n.category = 'broadcast'")) throw new Error(`nobody answers: ${text}`);
        const since = parseSql(String(params[0]));
        return this.ask(() => this.rows.filter((row) => parseSql(row.publication_time!) >= since)) as Promise<
          never[]
        >;
      },
    };
    this.log = new SqlNotificationLog(sql as Sql, String);
  }

  commit(id: number, form: BroadcastForm): void {
    const now = formatSql(this.clock());
    this.rows.push({
      id,
      source: 'an administrator',
      category: 'broadcast',
      variant: 'info',
      create_time: form === 'unreadable' ? 'yesterday' : now,
      update_time: now,
      publication_time: now,
      expiration_time: form === 'never ends' ? 'infinity' : IN_A_YEAR,
      content: '{}',
    });
  }

  async statuses(since: readonly Cursor[]): Promise<object[]> {
    const texts = await this.log.statuses(since.map((moment) => ({ userId: undefined, since: moment })));
    return texts.map((text) => JSON.parse(text) as object);
  }
}
