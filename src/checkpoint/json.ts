// Keeps state that JSON would silently change (NaN, dates, cycles, typed arrays) out of checkpoints.

/** @throws TypeError that names the place, such as `state.optimizer.lr`, when JSON cannot hold `value`. */
export function assertJson(value: unknown, place: string, parents: readonly unknown[] = []): void {
  if (value === null || typeof value === "string" || typeof value === "boolean") return;
  if (typeof value === "number") {
    if (Number.isFinite(value)) return;
    throw new TypeError(`${place} is ${value}, which JSON cannot hold`);
  }
  if (typeof value !== "object") {
    const help = typeof value === "bigint" ? "; pass it as a string" : "";
    const kind = value === undefined ? "undefined" : `a ${typeof value}`;
    throw new TypeError(`${place} is ${kind}, which JSON cannot hold${help}`);
  }
  if (parents.includes(value)) throw new TypeError(`${place} contains itself, which JSON cannot hold`);
  const path = [...parents, value];
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) assertJson(item, `${place}[${i}]`, path);
    return;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError(
      `${place} is a ${value.constructor.name}, which JSON cannot hold; pass plain objects and arrays`,
    );
  }
  for (const [key, item] of Object.entries(value)) {
    if (item !== undefined) assertJson(item, `${place}.${key}`, path);
  }
}
