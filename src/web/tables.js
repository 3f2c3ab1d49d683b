/** Small tools of the status page. Rows are made again only where what they say has changed. */
export const byId = (id) => document.getElementById(id);

export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** @param make from an item to an element; an item that is equal to the one before it in its place keeps its element */
export function rows(id, items, make) {
  const root = byId(id);
  for (const [index, item] of items.entries()) {
    const text = JSON.stringify(item);
    const before = root.children[index];
    if (before?.said === text) continue;
    const made = make(item);
    made.said = text;
    if (before === undefined) root.append(made);
    else before.replaceWith(made);
  }
  while (root.children.length > items.length) root.lastElementChild.remove();
}

export function problem(id, text) {
  const place = byId(id);
  place.hidden = text === '';
  if (place.textContent !== text) place.textContent = text;
}
