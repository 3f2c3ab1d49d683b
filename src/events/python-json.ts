/**
 * JSON as Python's `json.dumps` writes it by default: ASCII only, `", "` and `": "` as separators, keys in the order
 * given. Galaxy's own messages look so (contract, section 3.2), and an administrator who compares the two sees no difference.
 */
export type JsonValue =
  | string
  | number
  | readonly JsonValue[]
  /** A Map, not an object: an object would sort keys that look like numbers to the front. */
  | ReadonlyMap<string | number, JsonValue>;

export function pythonJson(value: JsonValue): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'number') return String(value);
  if (isMap(value)) {
    const members: string[] = [];
    for (const [key, member] of value)
      members.push(`${typeof key === 'number' ? `"${key}"` : quote(key)}: ${pythonJson(member)}`);
    return `{${members.join(', ')}}`;
  }
  return `[${value.map(pythonJson).join(', ')}]`;
}

const isMap = (value: JsonValue): value is ReadonlyMap<string | number, JsonValue> => value instanceof Map;

/** JSON.stringify leaves everything from DEL upwards as it is; Python escapes it, surrogates one by one. */
function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
