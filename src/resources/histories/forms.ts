/** The JSON of histories. */
import type { HistoryId } from '../../core/events.js';
import { isoOrNull } from '../../database/notification-forms.js';
import { toBoolean } from '../../database/port.js';
import { type HistoryManager, type Sharing, usernameAndSlug } from './manager.js';
import type { Counters, HistoryRow } from './repository.js';

interface FormChoice {
  keys?: string | undefined;
  view?: string | undefined;
}

const EMPTY: Counters = { active: 0, deleted: 0, hidden: 0 };

export class HistorySerializer {
  constructor(
    private readonly histories: HistoryManager,
    private readonly encodeId: (id: number) => string,
    /** URL prefix without a trailing slash. */
    private readonly prefix: string,
  ) {}

  summary(row: HistoryRow) {
    const id = this.encodeId(row.id);
    return {
      model_class: 'History' as const,
      id,
      name: row.name ?? '',
      deleted: toBoolean(row.deleted),
      purged: toBoolean(row.purged),
      archived: toBoolean(row.archived),
      importable: toBoolean(row.importable),
      published: toBoolean(row.published),
      create_time: isoOrNull(row.create_time),
      update_time: isoOrNull(row.newest),
      url: `${this.prefix}/api/histories/${id}`,
    };
  }

  async detailed(row: HistoryRow) {
    return this.#detailed(row, await this.histories.counters([row.id]));
  }

  #detailed(row: HistoryRow, counted: ReadonlyMap<HistoryId, Counters>) {
    const counters = counted.get(row.id) ?? EMPTY;
    const summary = this.summary(row);
    return {
      ...summary,
      user_id: row.user_id === null ? null : this.encodeId(row.user_id),
      username: row.username,
      slug: row.slug,
      genome_build: row.genome_build,
      hid_counter: row.hid_counter ?? 1,
      // Lightcone stores no data, only names.
      size: 0 as const,
      contents_active: counters,
      count: counters.active + counters.deleted + counters.hidden,
      contents_url: `${summary.url}/contents`,
    };
  }

  /**
   * @param keys names separated by commas; other fields are omitted. @param view `summary`, or any other text for all
   * fields
   */
  async chosen(row: HistoryRow, choice: FormChoice) {
    return (await this.allChosen([row], choice))[0]!;
  }

  /** The number of statements does not depend on the number of rows. */
  async allChosen(rows: readonly HistoryRow[], { keys, view }: FormChoice) {
    if (!keys && view === 'summary') return rows.map((row) => this.summary(row));
    const counted = await this.histories.counters(rows.map(({ id }) => id));
    const forms = rows.map((row) => this.#detailed(row, counted));
    if (!keys) return forms;
    const wanted = keys.split(',').map((key) => key.trim());
    return forms.map((form: Record<string, unknown>) =>
      Object.fromEntries(wanted.filter((key) => Object.hasOwn(form, key)).map((key) => [key, form[key]])),
    );
  }

  sharing({ row, users }: Sharing) {
    return {
      id: this.encodeId(row.id),
      title: row.name ?? '',
      importable: toBoolean(row.importable),
      published: toBoolean(row.published),
      username_and_slug: usernameAndSlug(row),
      users_shared_with: users.map(({ id, email }) => ({ id: this.encodeId(id), email })),
    };
  }
}
