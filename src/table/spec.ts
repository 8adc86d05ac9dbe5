// What a sparse table holds, and how its rows are laid out in memory.
import type { SlotSpec } from "../kernels/update-rule.ts";

export interface FieldInit {
  /** `uniform` in (-scale, scale), `normal` with standard deviation `scale`, or `zeros`. */
  readonly kind: "uniform" | "normal" | "zeros";
  readonly scale: number;
}

/** A vector of `dim` weights that every row has, with the optimizer state that belongs to it. */
export interface TableField {
  readonly name: string;
  readonly dim: number;
  readonly slots: readonly SlotSpec[];
  readonly init: FieldInit;
}

export interface TableSpec {
  readonly name: string;
  readonly fields: readonly TableField[];
  /** New rows are a function of seed and key. */
  readonly seed: number;
  /** First guess of the number of rows, default 0. The table grows beyond it. */
  readonly capacity?: number;
}

export interface FieldLayout {
  /** Byte offset of the weights in the row. */
  readonly offset: number;
  readonly dim: number;
  /** Byte offset of each slot, in the field's order. */
  readonly slotOffsets: readonly number[];
}

export interface TableLayout {
  /** Bytes of a row, a multiple of 16. */
  readonly strideBytes: number;
  readonly fields: Readonly<Record<string, FieldLayout>>;
}

/** A column of a table's rows as checkpoints see them: a field's weights (`embedding`) or a slot (`embedding.sum`). */
export interface TableColumn {
  readonly name: string;
  /** Numbers a row. */
  readonly width: number;
}

/** A column and where it lies in the row. */
export interface PlacedColumn extends TableColumn {
  readonly offset: number;
}

const MAX_DIM = 65536;
const MAX_STRIDE = 1 << 20;

/** @throws Error that names the wrong option, its value and what is allowed. */
export function validateSpec(spec: TableSpec): void {
  const fail = (what: string): never => {
    throw new RangeError(`table "${spec.name}": ${what}`);
  };
  if (typeof spec.name !== "string" || spec.name === "") fail("its name must be a text that is not empty");
  if (!Number.isSafeInteger(spec.seed) || spec.seed < 0)
    fail(`seed must be an integer of at least 0, got ${spec.seed}`);
  const capacity = spec.capacity ?? 0;
  if (!Number.isSafeInteger(capacity) || capacity < 0) fail(`capacity must be a count of rows, got ${capacity}`);
  if (spec.fields.length === 0) fail("it needs at least one field");
  const names = new Set<string>();
  for (const { name, dim, slots, init } of spec.fields) {
    if (!/^[\w-]+$/.test(name)) fail(`a field's name must consist of letters, digits, _ and -, got "${name}"`);
    if (names.has(name)) fail(`two fields are named "${name}"`);
    names.add(name);
    if (!Number.isInteger(dim) || dim < 1 || dim > MAX_DIM) {
      fail(`dim of field "${name}" must be an integer from 1 to ${MAX_DIM}, got ${dim}`);
    }
    if (!["uniform", "normal", "zeros"].includes(init.kind)) {
      fail(`init of field "${name}" must be "uniform", "normal" or "zeros", got "${init.kind}"`);
    }
    if (!Number.isFinite(init.scale) || init.scale < 0) {
      fail(`init scale of field "${name}" must be a number of at least 0, got ${init.scale}`);
    }
    if (new Set(slots.map((slot) => slot.name)).size < slots.length) {
      fail(`field "${name}" has two slots of the same name: ${slots.map((slot) => slot.name).join(", ")}`);
    }
    for (const slot of slots) {
      if (!Number.isFinite(slot.initial)) {
        fail(`initial of slot "${slot.name}" of field "${name}" must be a finite number, got ${slot.initial}`);
      }
    }
  }
  const { strideBytes } = layoutOf(spec);
  if (strideBytes > MAX_STRIDE) fail(`a row takes ${strideBytes} bytes, more than ${MAX_STRIDE}: use smaller dims`);
}

/**
 * Places the fields in the row: first long weights, so that a gather touches the fewest cache lines, then everything short
 * with its state, then the state of the long ones. Arrays of four or more lie at multiples of 16 bytes; a row of a cache
 * line or more fills whole ones where that costs at most a quarter.
 */
export function layoutOf(spec: TableSpec): TableLayout {
  let end = 0;
  const place = (count: number): number => {
    const align = count >= 4 ? 16 : 4;
    const offset = Math.ceil(end / align) * align;
    end = offset + 4 * count;
    return offset;
  };
  const isLong = (field: TableField): boolean => field.dim >= 4;
  const placeSlots = (field: TableField): number[] =>
    field.slots.map((slot) => place(slot.perRow === true ? 1 : field.dim));
  const long = spec.fields.filter(isLong);
  const weights = new Map(long.map((field) => [field.name, place(field.dim)]));
  const slots = new Map<string, number[]>();
  for (const field of spec.fields) {
    if (isLong(field)) continue;
    weights.set(field.name, place(field.dim));
    slots.set(field.name, placeSlots(field));
  }
  for (const field of long) slots.set(field.name, placeSlots(field));
  const tight = Math.ceil(end / 16) * 16;
  const lines = Math.ceil(end / 64) * 64;
  return {
    strideBytes: tight >= 64 && lines <= tight * 1.25 ? lines : tight,
    fields: Object.fromEntries(
      spec.fields.map(({ name, dim }) => [name, { offset: weights.get(name)!, dim, slotOffsets: slots.get(name)! }]),
    ),
  };
}

/** All columns of a row: of each field its weights, then its slots. */
export function columnsOf(spec: TableSpec, layout: TableLayout): PlacedColumn[] {
  return spec.fields.flatMap(({ name, dim, slots }) => {
    const { offset, slotOffsets } = layout.fields[name]!;
    const column = (slot: SlotSpec, i: number): PlacedColumn => ({
      name: `${name}.${slot.name}`,
      width: slot.perRow === true ? 1 : dim,
      offset: slotOffsets[i]!,
    });
    return [{ name, width: dim, offset }, ...slots.map(column)];
  });
}
