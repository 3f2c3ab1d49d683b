/** Keys, and passwords too, of the users of the demo. Everybody knows them. */
export const DEMO_KEYS: ReadonlySet<string> = new Set(['demo-alice', 'demo-bob', 'demo-admin']);
