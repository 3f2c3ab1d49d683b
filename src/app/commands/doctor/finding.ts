/** `problem`: something will not work; `note`: it works, but not as well as it could, or not yet. */
export type Finding = { state: 'ok' | 'note' | 'problem'; text: string };

export const ok = (text: string): Finding => ({ state: 'ok', text });
export const note = (text: string): Finding => ({ state: 'note', text });
export const problem = (text: string): Finding => ({ state: 'problem', text });
