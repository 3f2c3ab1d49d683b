/** The keys and passwords of the demo's users. They are public. */
export const DEMO_KEYS: ReadonlySet<string> = new Set(['demo-alice', 'demo-bob', 'demo-admin']);
