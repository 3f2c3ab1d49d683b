/** What a test of the client asks of a browser, whichever it is. */

export interface Tab {
  /** @param expression JavaScript; a promise is awaited @returns its value, which JSON can hold */
  evaluate<T>(expression: string): Promise<T>;
  close(): Promise<void>;
}

export interface Engine<T extends Tab = Tab> {
  /** Resolves when the page is there. */
  openTab(url: string): Promise<T>;
  close(): Promise<void>;
}
