/**
 * JSON as Python's `json.dumps` writes it by default: ASCII only, separators `", "` and `": "`, keys in the given
 * order. Galaxy's messages have this format (contract, section 3.2), and an administrator sees no difference between
 * the two.
 */
export type JsonValue =
  | string
  | number
  | readonly JsonValue[]
  /** A Map, because an object sorts keys that look like numbers to the front. */
  | ReadonlyMap<string | number, JsonValue>;

export function pythonJson(value: JsonValue): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'number') return String(value);
  if (isMap(value)) {
    const members: string[] = [];
    for (const [key, member] of value) members.push(`${quote(String(key))}: ${pythonJson(member)}`);
    return `{${members.join(', ')}}`;
  }
  return `[${value.map(pythonJson).join(', ')}]`;
}

const isMap = (value: JsonValue): value is ReadonlyMap<string | number, JsonValue> => value instanceof Map;

/** JSON.stringify leaves characters from DEL upwards as they are. Python escapes them, surrogates one by one. */
function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
