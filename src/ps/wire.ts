// How values travel between workers and servers. Apart from the messages, so that who only names it loads no network.

/** Halves are rounded to nearest, ties to even. */
export const wireTypes = ["f32", "f16", "bf16"] as const;
export type WireType = (typeof wireTypes)[number];
export const wireBytes = { f32: 4, f16: 2, bf16: 2 } as const satisfies Record<WireType, number>;
