// Finding a file that lies beside the code, whether it runs from TypeScript sources or from the published build.

/** The URL of a sibling module of `from` (an `import.meta.url`), for `new Worker(...)`. */
export function moduleUrl(from: string, name: string): URL {
  return new URL(`${name}${from.endsWith(".ts") ? ".ts" : ".js"}`, from);
}
