// Every op kind with its definition.
import type { Op, OpKind, ValueId } from "../ir.ts";
import { batch_matmul } from "./batch-matmul.ts";
import { bucket, bucket_wait } from "./bucket.ts";
import { conv2d, conv2d_input_grad, conv2d_weight_grad } from "./conv.ts";
import type { OpDefinition } from "./definition.ts";
import { all_gather, all_reduce, all_to_all, broadcast, reduce_scatter } from "./distributed.ts";
import { embedding, embedding_grad } from "./embedding.ts";
import { fm, fm_grad } from "./fm.ts";
import { concat, pad, reshape, slice, transpose } from "./layout.ts";
import { map, reduce } from "./map.ts";
import { matmul } from "./matmul.ts";
import { batch_norm, batch_norm_grad, layer_norm, layer_norm_grad } from "./norm.ts";
import { pool2d, pool2d_grad } from "./pool.ts";
import { gru, gru_grad, lstm, lstm_grad } from "./recurrent.ts";
import { rows } from "./rows.ts";
import { softmax, softmax_cross_entropy, softmax_cross_entropy_grad, softmax_grad } from "./softmax.ts";
import { gather, gather_pool, lookup, scatter_update } from "./table.ts";
import { update } from "./update.ts";

export const catalogue: { readonly [K in OpKind]: OpDefinition<K> } = {
  map,
  reduce,
  rows,
  matmul,
  batch_matmul,
  conv2d,
  conv2d_input_grad,
  conv2d_weight_grad,
  pool2d,
  pool2d_grad,
  embedding,
  embedding_grad,
  lstm,
  lstm_grad,
  gru,
  gru_grad,
  reshape,
  concat,
  slice,
  pad,
  transpose,
  softmax,
  softmax_grad,
  softmax_cross_entropy,
  softmax_cross_entropy_grad,
  layer_norm,
  layer_norm_grad,
  batch_norm,
  batch_norm_grad,
  lookup,
  gather,
  gather_pool,
  scatter_update,
  bucket,
  bucket_wait,
  all_reduce,
  all_gather,
  reduce_scatter,
  broadcast,
  all_to_all,
  fm,
  fm_grad,
  update,
};

export const definitionOf = <K extends OpKind>(kind: K): OpDefinition<K> => catalogue[kind];

/** The definition of an op of any kind: its `attrs` are the op's own, so the kinds agree. */
export const definitionFor = (op: Op): OpDefinition<OpKind> => catalogue[op.kind] as unknown as OpDefinition<OpKind>;

const nothing: ValueId[] = [];

/** The values that an op overwrites in place. */
export function writtenValues(op: Op): readonly ValueId[] {
  const positions = definitionFor(op).writes?.(op.attrs);
  return positions === undefined ? nothing : positions.map((position) => op.inputs[position]!);
}
