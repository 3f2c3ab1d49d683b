/** Small tools of the pages. Rows are made again only where what they say has changed. */
export const byId = (id) => document.getElementById(id);

export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** What is longer may break anywhere: a line of a phone would not hold it. */
const LONGEST_WORD = 30;

/** @returns nodes of a text that breaks at its spaces, and not at the hyphens of a date or a flag */
export const unbroken = (text) =>
  text
    .split(' ')
    .flatMap((word, index) => [
      index === 0 ? '' : ' ',
      word.length > LONGEST_WORD ? word : element('span', { className: 'word', textContent: word }),
    ]);

/** @param make from an item to an element; an item that is equal to the one before it in its place keeps its element */
export function rows(id, items, make) {
  const root = byId(id);
  const columns = [...(root.closest('table')?.querySelectorAll('thead th') ?? [])];
  for (const [index, item] of items.entries()) {
    const text = JSON.stringify(item);
    const before = root.children[index];
    if (before?.said === text) continue;
    const made = make(item);
    made.said = text;
    // For a phone, where the head of the table is not shown.
    for (const [column, { textContent, firstElementChild }] of columns.entries())
      if (made.cells[column] && firstElementChild === null) made.cells[column].dataset.label = textContent;
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
