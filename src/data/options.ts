// Validation of option objects: one message that names each wrong option, its value and what is allowed.
import type { z } from "zod";

/** @throws TypeError that lists every wrong option of `value`. */
export function parseOptions<T extends z.ZodType>(schema: T, value: unknown, what: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => {
    let at: unknown = value;
    for (const key of issue.path) at = (at as Record<PropertyKey, unknown> | undefined)?.[key];
    const where = issue.path.length > 0 ? `option ${issue.path.map(String).join(".")}` : "the options";
    return `${where}: ${issue.message}${issue.code === "unrecognized_keys" ? "" : ` (got ${show(at)})`}`;
  });
  throw new TypeError(`${what}: ${lines.join("; ")}`);
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = typeof value === "function" ? "a function" : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
