/** What is wrong with one setting, without its path: the loader puts that in front and gathers all of them. */
export class SettingError extends Error {}
