/** A mistake in one setting. The loader adds the path of the setting and collects all mistakes. */
export class SettingError extends Error {}
